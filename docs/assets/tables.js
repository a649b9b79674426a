// The theme wraps wide tables into boxes that scroll; the keyboard must reach them.
document$.subscribe(() =>
  setTimeout(() => {
    for (const box of document.querySelectorAll(".md-typeset__scrollwrap")) box.tabIndex = 0;
  })
);
