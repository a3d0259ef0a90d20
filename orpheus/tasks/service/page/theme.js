// Light, dark, or as the system says; loaded before the page is drawn, so that it does not flash.
(() => {
  const THEMES = ["system", "light", "dark"];
  const root = document.documentElement;
  let theme = "system";
  try {
    theme = localStorage.getItem("orpheus-theme") ?? "system";
  } catch {
    // storage is switched off: the theme is not kept
  }
  const use = (name) => {
    theme = THEMES.includes(name) ? name : "system";
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    document.dispatchEvent(new Event("themechange"));
  };
  use(theme);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => use(theme));
  window.orpheusTheme = {
    get name() {
      return theme;
    },
    next() {
      use(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]);
      try {
        localStorage.setItem("orpheus-theme", theme);
      } catch {
        // as above
      }
    },
  };
})();
