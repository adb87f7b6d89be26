// Makes the buttons of a login's row work that was added to the form after the page was shown.
"use strict";

document.addEventListener("formset:added", (event) => htmx.process(event.target));
