// The part of a page that refreshes itself stays as it is while a person has something unfolded in it or types into it.
document.addEventListener("htmx:beforeRequest", (event) => {
  const part = event.target, field = document.activeElement;
  if (part.id !== "live") return;
  const typing = part.contains(field) && field.matches("input, select, textarea");
  if (typing || part.querySelector("details[open]")) event.preventDefault();
});
