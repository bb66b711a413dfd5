// When the page was refreshed last, and after how many milliseconds without that it says why.
let refreshed = 0;
const silence = 60000;

// The part of a page that refreshes itself stays as it is while a person has something unfolded in it or types into it.
document.addEventListener("htmx:beforeRequest", (event) => {
  const part = event.target, field = document.activeElement;
  if (part.id !== "live") return;
  const typing = part.contains(field) && field.matches("input, select, textarea");
  if (!typing && !part.querySelector("details[open]")) return;
  event.preventDefault();
  if (performance.now() - refreshed > silence && !document.getElementById("stale")?.firstChild) stale("held");
});

// A part that could not be refreshed says so above the page: an old summary must not pass for the present one. The text stands in the
// part itself, with the time of its own figures. It is put there once, so that screen readers do not repeat it at every try.
function stale(why) {
  const notice = document.getElementById("stale"), text = document.querySelector(`#live > template.${why}`);
  if (!notice || !text || (notice.firstChild && notice.className === why)) return;
  notice.className = why;
  notice.replaceChildren(text.content.cloneNode(true));
}
for (const failure of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(failure, (event) => {
    if (event.target.id === "live") stale("failed");
  });
}

// An answer without the part, such as the page of a proxy, would leave nothing in its place.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { target, xhr } = event.detail;
  if (target.id !== "live" || xhr.status !== 200) return;
  if (xhr.responseText.includes('id="live"')) {
    refreshed = performance.now();
    document.getElementById("stale")?.replaceChildren();
    return;
  }
  event.detail.shouldSwap = false;
  stale("failed");
});
