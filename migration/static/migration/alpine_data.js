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
    const { handleOpen, handleEscape, handleContentLoaded, selectItem } = palette;
    let before = null;
    // How Enter asked for the first answer, while the answers to what was typed aren't there yet.
    let asked = null;
    return Object.assign(palette, {
      init() {
        // While it is open the keyboard stays in it; then it goes back to where it was.
        this.$watch("openCommandResults", (isOpen) => {
          for (const part of document.body.children) if (part !== this.$root) part.inert = isOpen;
          if (!isOpen) before?.focus();
        });
      },
      handleOpen({ detail: typed, target } = {}) {
        if (this.openCommandResults) return;
        before = document.activeElement;
        handleOpen.call(this);
        // What was typed into the menu's box goes on here.
        if (typed) {
          this.ask(typed);
          target.value = "";
        }
        // Unfold's focuses after 20 ms, and Alpine shows the field in the next frame, which may be later.
        requestAnimationFrame(() => requestAnimationFrame(() => this.$refs.searchInputCommand.focus()));
      },
      ask(text) {
        const field = this.$refs.searchInputCommand;
        field.value = text;
        field.dispatchEvent(new Event("input"));
      },
      handleEscape() {
        asked = null;
        const isClosing = this.$refs.searchInputCommand.value === "";
        handleEscape.call(this);
        if (!isClosing) this.ask("");
      },
      handleContentLoaded(event) {
        handleContentLoaded.call(this, event);
        // The first answer is chosen, so Enter follows it.
        if (this.hasResults) this.currentIndex = 1;
        if (asked && this.isAnswered()) this.selectItem(...asked);
      },
      isAnswered() {
        const answers = document.getElementById("command-results-list");
        return answers?.dataset.searched === this.$refs.searchInputCommand.value.trim();
      },
      handleShortcut(event) {
        const isTyping = document.activeElement.matches("input:not([type=checkbox]), textarea, select");
        const opens = event.key === "/" ? !document.getElementById("searchbar") : event.key === "k" && (event.metaKey || event.ctrlKey);
        if (!opens || (isTyping && event.key === "/")) return;
        event.preventDefault();
        this.handleOpen();
      },
      selectItem(...how) {
        asked = this.isAnswered() ? null : how;
        // Unfold's fails where nothing is found.
        if (!asked && this.items?.[this.currentIndex - 1]) selectItem.apply(this, how);
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
