// The map of the network for the last input, in a frame that is as high as its content.
function offerMap() {
  const {no_map: reason} = model();
  $("network").hidden = false;
  $("network").querySelector("iframe")?.remove();
  $("map").parentElement.hidden = Boolean(reason);
  note(reason);
}
function note(text, bad) { $("map-note").textContent = text; $("map-note").className = bad ? "bad" : "soft" }

$("map").onclick = async () => {
  if (!last) return;
  stopCamera();
  const {value, kind} = last, number = requests;
  $("map").disabled = true;
  note("Computing the map. The first one of a model takes longest.");
  try {
    const {page} = await post(`network/${path()}`, {instances: [value], signature_name: model()[kind]});
    if (number !== requests) return;
    const frame = make("iframe", {title: "The network as a map", srcdoc: page});
    frame.onload = () => {
      const {body} = frame.contentDocument;
      new ResizeObserver(() => { frame.style.height = `${Math.ceil(body.getBoundingClientRect().height)}px` }).observe(body);
    };
    $("map").parentElement.hidden = true;
    note("");
    $("network").append(frame);
  } catch (error) { if (number === requests) note(error.message, true) } finally { $("map").disabled = false }
};
