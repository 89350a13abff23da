// What the tests measure on an open page; each function returns a list of faults as text.
globalThis.measures = (() => {
  const name = element => `${element.tagName.toLowerCase()}.${element.getAttribute("class") ?? ""} "${element.textContent.trim().slice(0, 40)}"`;
  const visible = element => element.checkVisibility() && element.getClientRects().length > 0;

  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true }), known = new Map();
  function rgba(colour) {
    if (!known.has(colour)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
      known.set(colour, [red, green, blue, alpha / 255]);
    }
    return known.get(colour);
  }
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);

  // The colour behind an element: its ancestors' backgrounds, the nearest on top, on the canvas of the colour scheme.
  function backdrop(element) {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
    const canvas = matchMedia("screen and (prefers-color-scheme:dark)").matches ? "#121212" : "#ffffff";
    return layers.reverse().reduce((below, layer) => over(layer, below), rgba(canvas));
  }
  function luminance(colour) {
    const [red, green, blue] = colour.map(part => part / 255).map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  }
  function contrast(colour, below) {
    const [light, dark] = [luminance(over(rgba(colour), below)), luminance(below)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  }

  return {
    headings() {
      const levels = [...document.querySelectorAll("h1,h2,h3,h4,h5,h6")].map(heading => [Number(heading.tagName[1]), heading]);
      const faults = levels.filter(([level]) => level === 1).length === 1 ? [] : ["there must be one h1"];
      levels.forEach(([level, heading], at) => {
        if (level > (at ? levels[at - 1][0] : 0) + 1) faults.push(`skips a level: ${name(heading)}`);
      });
      return faults;
    },
    // Pictures without a text, and bars that are neither hidden from screen readers nor have one.
    texts() {
      const named = element => element.getAttribute("alt") || element.getAttribute("aria-label") || element.getAttribute("aria-labelledby");
      const pictures = [...document.querySelectorAll("img,svg")].filter(element => !named(element) && !element.closest("[aria-hidden=true]"));
      const bars = [...document.querySelectorAll(".line,.bar")].filter(element => !element.closest("[aria-hidden=true]") ||
        !element.closest("td,li,.card").textContent.trim());
      return [...pictures, ...bars].map(element => `no text: ${name(element)}`);
    },
    headers() {
      return [...document.querySelectorAll("th:not([scope])")].map(cell => `no scope: ${name(cell)}`);
    },
    // Elements that stick out of the page, or out of a box that cuts them off; what can be scrolled to is in sight.
    overflow() {
      const width = document.documentElement.clientWidth, faults = [];
      if (document.documentElement.scrollWidth > width) faults.push(`the page is ${document.documentElement.scrollWidth} px wide, not ${width}`);
      for (const element of document.querySelectorAll("body *")) {
        if (!visible(element) || element.closest(".hidden,svg *")) continue;
        const style = getComputedStyle(element), box = element.getBoundingClientRect(), scroller = element.closest(".scroll");
        if (!scroller && (box.right > width + 1 || box.left < -1)) faults.push(`sticks out: ${name(element)}`);
        if (/hidden|clip/.test(style.overflowX) && element.scrollWidth > element.clientWidth + 1) faults.push(`cuts off: ${name(element)}`);
        if (/auto|scroll/.test(style.overflowX) && element.scrollWidth > element.clientWidth + 1 && element.tabIndex < 0)
          faults.push(`the keyboard cannot scroll: ${name(element)}`);
      }
      for (const text of document.querySelectorAll("svg text")) {
        const [box, frame] = [text.getBoundingClientRect(), text.closest("svg").getBoundingClientRect()];
        if (box.left < frame.left - 1 || box.right > frame.right + 1) faults.push(`sticks out of its picture: ${name(text)}`);
      }
      return faults;
    },
    // What axe measures too, and slowly: each text against the backgrounds of the elements around it.
    contrast() {
      const ratio = element => contrast(getComputedStyle(element).color, backdrop(element));
      return [...document.querySelectorAll("body *:not(svg *)")].filter(element => visible(element) && !element.closest(".hidden") &&
        [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim()) && ratio(element) < 4.5)
        .map(element => `${ratio(element).toFixed(2)} to 1: ${name(element)}`);
    },
    // axe does not look into pictures: text against what is behind the picture, at least 4.5 to 1.
    pictures() {
      return [...document.querySelectorAll("svg text")].flatMap(text => {
        const ratio = contrast(getComputedStyle(text).fill, backdrop(text.closest("svg").parentElement));
        return ratio < 4.5 ? [`${ratio.toFixed(2)} to 1: ${name(text)}`] : [];
      });
    },
    // Lines, dots and bars carry meaning: at least 3 to 1 against what is behind them (WCAG 1.4.11). Grids and areas do not.
    marks() {
      const spare = ["grid", "soft"].map(role => getComputedStyle(document.documentElement).getPropertyValue(`--${role}`)).map(colour => String(rgba(colour)));
      const faults = [];
      for (const mark of document.querySelectorAll("svg path, svg use, svg rect")) {
        if (mark.closest("defs,clipPath")) continue;
        const { fill, stroke } = getComputedStyle(mark), below = backdrop(mark.closest("svg").parentElement);
        const drawn = [fill, stroke].filter(colour => colour !== "none" && rgba(colour)[3] && !spare.includes(String(rgba(colour))));
        if (drawn.length && drawn.every(colour => contrast(colour, below) < 3)) faults.push(`${drawn} is hard to see: ${mark.outerHTML.slice(0, 80)}`);
      }
      for (const mark of document.querySelectorAll(".bar b, .bar i, .bar s, .line b, .line u, .bar em.zero")) {
        if (!visible(mark)) continue;
        const style = getComputedStyle(mark), colours = [style.backgroundColor, style.borderLeftColor].filter(colour => rgba(colour)[3]);
        if (style.opacity === "1" && style.backgroundImage === "none" && !colours.some(colour => spare.includes(String(rgba(colour))) ||
          contrast(colour, backdrop(mark.parentElement)) >= 3)) faults.push(`hard to see: ${name(mark.parentElement)} ${mark.tagName}`);
      }
      return faults;
    },
  };
})();
