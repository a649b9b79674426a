// A page that is loaded anew has its key in the memory of the tab, not in its address.
{
  const key = sessionStorage.getItem("invdyn-live-key");
  if (key) location.replace(`${location.pathname}?key=${encodeURIComponent(key)}${location.hash}`);
}
