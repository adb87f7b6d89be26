// Names for the expressions in Unfold's templates. Alpine's build for a Content-Security-Policy finds no globals, only what is registered.
"use strict";

document.addEventListener("alpine:init", () => {
  // The root of every page: Unfold's own, and the one global that a form's address is made of.
  const place = {
    get pathname() {
      return window.location.pathname;
    },
    get search() {
      return window.location.search;
    },
  };
  Alpine.data("theme", (chosen) => Object.assign(theme(chosen), { window: { location: place } }));

  // The body: which tab of a form is open, and the sidebar, which stays as it was left.
  Alpine.data("page", (tab = "") => ({
    activeTab: tab,
    sidebarMobileOpen: false,
    sidebarDesktopOpen: localStorage.getItem("sidebarDesktopOpen") !== "0",
    init() {
      if (tab) this.activeTab = getCurrentTab() || tab;
      this.$watch("sidebarDesktopOpen", (open) => localStorage.setItem("sidebarDesktopOpen", open ? "1" : "0"));
    },
  }));

  Alpine.data("searchForm", () => searchForm());

  // The palette behind Ctrl+K, and behind "/" where no list has a search of its own.
  Alpine.data("searchCommand", () => {
    const palette = searchCommand();
    const { handleOpen, selectItem } = palette;
    let before = null;
    return Object.assign(palette, {
      init() {
        // While it is open the keyboard stays in it; then it goes back to where it was.
        this.$watch("openCommandResults", (isOpen) => {
          for (const part of document.body.children) if (part !== this.$root) part.inert = isOpen;
          if (!isOpen) before?.focus();
        });
      },
      handleOpen() {
        if (!this.openCommandResults) before = document.activeElement;
        handleOpen.call(this);
        // Unfold's focuses after 20 ms, and Alpine shows the field in the next frame, which may be later.
        requestAnimationFrame(() => requestAnimationFrame(() => this.$refs.searchInputCommand.focus()));
      },
      handleShortcut(event) {
        const isTyping = document.activeElement.matches("input:not([type=checkbox]), textarea, select");
        const opens = event.key === "/" ? !document.getElementById("searchbar") : event.key === "k" && (event.metaKey || event.ctrlKey);
        if (isTyping || !opens) return;
        event.preventDefault();
        this.handleOpen();
      },
      selectItem(...how) {
        // Unfold's fails where nothing is found, or nothing chosen yet.
        if (this.items?.[this.currentIndex - 1]) selectItem.apply(this, how);
      },
    });
  });
});

// A page is hidden until Alpine has begun, and a browser that came to `autofocus` before that focused nothing.
document.addEventListener("alpine:initialized", () => {
  queueMicrotask(() => {
    if (document.activeElement === document.body) document.querySelector("[autofocus]")?.focus();
  });
});
