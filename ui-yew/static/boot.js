// Starts the console: the one module that the page loads by itself.
import init from "./console.js";

init({ module_or_path: new URL("./console_bg.wasm", import.meta.url) }).catch((error) => {
  const place = document.getElementById("console");
  place.textContent = `The console could not start: ${error}`;
  place.className = "sl-boot-failed";
});
