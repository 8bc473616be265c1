// Runs before the first paint: "auto" follows the system, so that a dark page never flashes white.
(function () {
  var root = document.documentElement;
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  function apply() {
    if (root.dataset.theme === "auto") root.dataset.bsTheme = dark.matches ? "dark" : "light";
  }
  apply();
  dark.addEventListener("change", apply);
})();
