/** Charts of a report page, and the search in its keys. */
(() => {
  const functions = { lineChart, barChart };
  for (const place of document.querySelectorAll("[data-chart]")) {
    const chart = pageData.charts[Number(place.dataset.chart)];
    functions[chart.function](place, chart.options);
  }

  const find = document.getElementById("find"), expand = document.getElementById("expand");
  const groups = [...document.querySelectorAll("details.keys")];

  function search() {
    const word = find.value.trim().toLowerCase();
    let count = 0;
    for (const group of groups) {
      const rows = [...group.querySelectorAll("tbody tr")];
      const ofGroup = group.querySelector("summary").textContent.toLowerCase().includes(word);
      for (const row of rows) row.hidden = !ofGroup && !row.textContent.toLowerCase().includes(word);
      const matches = rows.filter((row) => !row.hidden).length;
      group.hidden = matches === 0;
      group.open = word !== "" && matches > 0;
      count += matches;
    }
    document.getElementById("found").textContent = word === "" ? "" : `${count} keys`;
  }

  find.addEventListener("input", search);
  expand.addEventListener("click", () => {
    const open = expand.ariaPressed !== "true";
    expand.ariaPressed = String(open);
    for (const group of groups) group.open = open;
  });
})();
