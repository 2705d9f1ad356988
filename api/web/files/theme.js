// Before the first paint, so that no page flashes in the other colours. Not a module: these run later.
(() => {
  const kept = localStorage.getItem("featurehub.theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
})();
