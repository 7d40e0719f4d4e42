// Sets the theme before anything is painted, so that a dark page does not flash white.
// The same key and values as in src/theme.rs.
(() => {
  let choice = null;
  try {
    choice = localStorage.getItem("sluice.theme");
  } catch {
    // Storage may be forbidden: follow the system.
  }
  const system = matchMedia("(prefers-color-scheme: dark)").matches;
  const dark = choice === "dark" || (choice !== "light" && system);
  document.documentElement.classList.toggle("pf-v6-theme-dark", dark);
})();
