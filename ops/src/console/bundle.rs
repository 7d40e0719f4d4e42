//! Lays out the folder that is served.
//!
//! ```text
//! index.html               names the two folders below; never cached for long
//! favicon.svg
//! assets/console-<hash>/   the console: its wasm, JavaScript and styles; the hash is of their content
//! assets/vendor-<hash>/    PatternFly and uPlot, which change seldom, so that browsers keep them
//! ```
//!
//! Whatever lies below `assets/` may be cached for ever. What compresses well has a `.gz` beside it.
//! No page carries a script or a style of its own, so that the strictest content security policy holds.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};

use super::compile::Bound;
use super::inputs::files_below;
use super::vendor::Vendored;
use crate::failure::{Doing, Failure, Outcome};

/// Endings of files that are worth compressing ahead.
const COMPRESSED: [&str; 5] = ["css", "html", "js", "svg", "wasm"];

/// How many hex digits of a content hash stand in a folder's name: enough that two never meet.
const HASH_DIGITS: usize = 16;

/// Writes the console into the folder `out`, which does not exist yet.
///
/// `crate_dir` is the console's crate, whose `static/` holds the page and its own styles.
pub(super) fn lay_out(crate_dir: &Path, vendored: &Vendored, bound: &Bound, out: &Path) -> Outcome {
    let assets = out.join("assets");
    fs::create_dir_all(&assets).doing(|| format!("making {}", assets.display()))?;
    let static_dir = crate_dir.join("static");

    let vendor = assets.join("vendor");
    copy_vendored(vendored, &vendor)?;
    let vendor = named_by_content(&vendor)?;

    let console = assets.join("console");
    copy_tree(bound.folder.path(), &console)?;
    for name in ["boot.js", "theme.js", "console.css"] {
        copy(&static_dir.join(name), &console.join(name))?;
    }
    let console = named_by_content(&console)?;

    copy(&static_dir.join("favicon.svg"), &out.join("favicon.svg"))?;
    let page = static_dir.join("index.html");
    let page = fs::read_to_string(&page).doing(|| format!("reading {}", page.display()))?;
    let page = page
        .replace("{console}", &console)
        .replace("{vendor}", &vendor);
    fs::write(out.join("index.html"), page).doing(|| "writing index.html".to_owned())?;
    compress_all(out)
}

/// Copies of the vendored packages what the page refers to.
fn copy_vendored(vendored: &Vendored, into: &Path) -> Outcome {
    let styles = vendored.patternfly.join("patternfly.min.css");
    copy(&styles, &into.join("patternfly.min.css"))?;
    let css = fs::read_to_string(&styles).doing(|| format!("reading {}", styles.display()))?;
    for referred in local_urls(&css) {
        copy(&vendored.patternfly.join(referred), &into.join(referred))?;
    }
    for name in ["uPlot.iife.min.js", "uPlot.min.css"] {
        copy(&vendored.uplot.join("dist").join(name), &into.join(name))?;
    }
    Ok(())
}

/// The files that a style sheet refers to: `url(…)` that is neither `data:` nor of another server.
fn local_urls(css: &str) -> Vec<&str> {
    let mut urls: Vec<&str> = css
        .split("url(")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(url, _)| url.trim_matches(['"', '\'']).trim_start_matches("./"))
        .filter(|url| !url.contains(':') && !url.starts_with('#'))
        .map(|url| url.split(['?', '#']).next().unwrap_or(url))
        .collect();
    urls.sort_unstable();
    urls.dedup();
    urls
}

/// Renames `folder` to `folder-<hash of all it holds>` and returns the new name.
fn named_by_content(folder: &Path) -> Outcome<String> {
    let mut hasher = blake3::Hasher::new();
    for file in files_below(folder)? {
        let name = file.strip_prefix(folder).unwrap_or(&file);
        hasher.update(name.as_os_str().as_encoded_bytes());
        hasher.update(&fs::read(&file).doing(|| format!("reading {}", file.display()))?);
    }
    let hash = hasher.finalize().to_hex();
    let stem = folder.file_name().unwrap_or_default().to_string_lossy();
    let name = format!("{stem}-{}", &hash[..HASH_DIGITS]);
    fs::rename(folder, folder.with_file_name(&name)).doing(|| format!("naming {name}"))?;
    Ok(name)
}

fn copy_tree(from: &Path, into: &Path) -> Outcome {
    for file in files_below(from)? {
        let name = file.strip_prefix(from).unwrap_or(&file);
        copy(&file, &into.join(name))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Outcome {
    let folder = to
        .parent()
        .ok_or_else(|| Failure::new(format!("{} has no folder", to.display())))?;
    fs::create_dir_all(folder).doing(|| format!("making {}", folder.display()))?;
    let content = fs::read(from).doing(|| format!("reading {}", from.display()))?;
    fs::write(to, content).doing(|| format!("writing {}", to.display()))
}

/// Puts a `.gz` beside each file that gets smaller by it.
fn compress_all(out: &Path) -> Outcome {
    for file in files_below(out)? {
        let ending = file
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if COMPRESSED.contains(&ending.as_str()) {
            compress(&file)?;
        }
    }
    Ok(())
}

fn compress(file: &Path) -> Outcome {
    let what = || format!("compressing {}", file.display());
    let content = fs::read(file).doing(what)?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&content).doing(what)?;
    let compressed = encoder.finish().doing(what)?;
    let mut name = file.as_os_str().to_owned();
    name.push(".gz");
    fs::write(PathBuf::from(name), compressed).doing(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_beside_the_style_sheet_are_copied() {
        let css = "a{src:url(fonts/a.woff2)}b{src:url(\"./img/b.svg\")}c{src:url(data:image/png;x)}\
                   d{mask:url(#id)}e{src:url(fonts/a.woff2?#iefix)}f{src:url(https://example.com/f)}";
        assert_eq!(local_urls(css), ["fonts/a.woff2", "img/b.svg"]);
    }

    #[test]
    fn a_folder_is_named_by_what_it_holds() {
        let name_of = |content: &str| {
            let out = tempfile::tempdir().expect("a temporary folder");
            let folder = out.path().join("console");
            fs::create_dir(&folder).expect("a folder");
            fs::write(folder.join("a.js"), content).expect("a file");
            named_by_content(&folder).expect("a name")
        };
        assert_eq!(name_of("one"), name_of("one"));
        assert_ne!(name_of("one"), name_of("two"));
        assert!(name_of("one").starts_with("console-"));
    }
}
