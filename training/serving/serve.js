// Input by drawing, file, camera or sentence; the prediction, and what the network makes of it.
const $ = id => document.getElementById(id), canvas = $("canvas"), pen = canvas.getContext("2d", {willReadFrequently: true});
const SHOWN = 10, COLUMN = 26, ROOT = location.pathname.replace(/\/?$/, "/");  // a proxy may add a prefix
let models = {}, requests = 0, drawing = false, timer, last = null;

function report(text, bad) { $("status").textContent = text; $("status").className = bad ? "bad" : "soft" }

async function post(path, body) {
  const response = await fetch(ROOT + path, {method: "POST", body: JSON.stringify(body)});
  const content = await response.json();
  if (!response.ok) throw new Error(content.error);
  return content;
}

const model = () => models[$("model").value], path = () => encodeURIComponent($("model").value);
async function predictions(values, kind) {
  const body = {instances: values, signature_name: model()[kind]};
  return (await post(`v1/models/${path()}:predict`, body)).predictions;
}

async function predict(value, kind) {
  const number = ++requests;
  report("Predicting…");
  try {
    const [[prediction], maps] = await Promise.all([
      predictions([value], kind), model().stages ? post(`maps/${path()}`, {instances: [value]}) : {}]);
    if (number != requests) return;  // there is a newer request
    last = {value, kind, prediction};
    answer(prediction);
    const {image, tokens, ...stages} = maps;
    see(image, tokens);
    drawStages(stages, tokens);
    curl(value, kind);
  } catch (error) {
    if (number == requests) { empty(); report(error.message, true) }
  }
}

function empty() {
  for (const id of ["bars", "stages", "words"]) $(id).replaceChildren();
  for (const id of ["answer", "sees", "why", "request", "heat", "network"]) $(id).hidden = true;
  last = null;
}

function answer(prediction) {
  const {labels} = model(), {label, class_id, probabilities} = prediction;
  const named = i => labels ? labels[i] : i == class_id ? label : `class ${i}`;
  report("");
  $("answer").hidden = $("why").hidden = false;
  $("answer").children[0].textContent = label;
  $("answer").children[1].textContent = percent(probabilities[class_id]);
  const best = probabilities.map((p, i) => [named(i), p]).sort((a, b) => b[1] - a[1]).slice(0, SHOWN);
  $("bars").replaceChildren(...bars(best));
  $("without").textContent = ""; $("words").replaceChildren(); $("heat").hidden = true;
  offerMap();
}

function see(image, tokens) {
  $("sees").hidden = !image && !tokens;
  if (image) {
    $("sees").querySelector("small").textContent = image.shape.join(" × ");
    $("sees").lastElementChild.replaceChildren(make("img", {
      src: `data:image/png;base64,${image.maps[0]}`, alt: "the image as the network takes it"}));
  } else if (tokens) {
    $("sees").querySelector("small").textContent = `${tokens.words.length} ${tokens.unit}`;
    $("sees").lastElementChild.replaceChildren(...tokens.words.map(word => make("span", {className: "word", textContent: word})));
  }
}

function picture(png, stage, shape, tokens) {
  const src = `data:image/png;base64,${png}`;
  if (shape.length != 2) return make("img", {src, alt: `a feature map of ${stage}`});
  const lines = make("img", {src, className: "lines", alt: `the feature maps of ${stage}: a row is a filter, a column a position`});
  const words = tokens ? tokens.words : [], unit = tokens ? tokens.unit.slice(0, -1) : "", width = +(/^window(\d+)$/.exec(stage) || [0, 0])[1];
  const whole = shape[0] == words.length, ends = width && shape[0] == words.length + width - 1;
  if (!whole && !ends) { lines.style.width = `min(100%, ${16 * shape[0]}px)`; return lines }
  lines.style.width = `${COLUMN * shape[0]}px`; lines.style.maxWidth = "none";
  const axis = make("div", {className: "axis-of-words"}, ...words.map(word => {
    const label = make("span", {textContent: word, title: word});
    label.style.width = `${COLUMN}px`;
    return label;
  }));
  const told = !width ? `A column is a ${unit}.` : ends ? `A column is the window of ${width} words that ends at the word.` : `A column is the window of ${width} words that starts at the word.`;
  return make("div", {}, make("p", {className: "soft", textContent: `A row is a filter. ${told}`}), lines, axis);
}

function drawStages(stages, tokens) {
  $("stages").replaceChildren(...Object.entries(stages).flatMap(([stage, {shape, maps}]) => {
    const drawn = make("div", {className: shape.length == 2 ? "wide" : "maps"}, ...maps.map(png => picture(png, stage, shape, tokens)));
    if (shape.length == 2) drawn.tabIndex = 0;
    return [make("h2", {textContent: `${stage} `}, make("small", {textContent: shape.join(" × ")})), drawn];
  }));
}

const quoted = text => `'${text.replaceAll("'", "'\\''")}'`;
function curl(value, kind) {
  const url = `${location.origin}${ROOT}v1/models/${path()}:predict`, signature = model()[kind];
  const body = kind === "text" ? JSON.stringify({signature_name: signature, instances: [value]}) : null;
  $("curl").textContent = body ? `curl -d ${quoted(body)} ${url}`
    : `echo '{"signature_name": "${signature}", "instances": [{"b64": "'"$(base64 -w0 image.png)"'"}]}' | curl -d @- ${url}`;
  $("request").hidden = false;
  $("copy").textContent = "Copy";
}
$("copy").onclick = async () => {
  try {
    await navigator.clipboard.writeText($("curl").textContent);
    $("copy").textContent = "Copied";
  } catch {  // a page that is not served over https or from this machine may not
    getSelection().selectAllChildren($("curl"));
  }
};

const bytes = data => ({b64: data.slice(data.indexOf(",") + 1)});
function predictSoon() { clearTimeout(timer); timer = setTimeout(() => predict(bytes(canvas.toDataURL("image/png")), "image"), 150) }
function clear() { clearTimeout(timer); requests++; pen.fillStyle = "#000"; pen.fillRect(0, 0, 320, 320); empty(); report("No prediction yet.") }

function draw(source, width, height) {
  const scale = 320 / Math.max(width, height), w = width * scale, h = height * scale;
  pen.imageSmoothingEnabled = scale < 2;
  pen.drawImage(source, (320 - w) / 2, (320 - h) / 2, w, h);
}
function load(url) {  // the file itself is sent; the canvas only shows it
  clear();
  const picture = new Image();
  picture.onload = () => draw(picture, picture.width, picture.height);
  picture.src = url;
  return predict(bytes(url), "image");
}
function open(file) {
  if (!file) return;
  stopCamera();
  const reader = new FileReader();
  reader.onload = () => load(reader.result);
  reader.readAsDataURL(file);
}

function stroke(event) {
  const box = canvas.getBoundingClientRect(), x = (event.clientX - box.left) * 320 / box.width, y = (event.clientY - box.top) * 320 / box.height;
  pen.strokeStyle = "#fff"; pen.lineWidth = 26; pen.lineCap = pen.lineJoin = "round";
  if (!drawing) { pen.beginPath(); pen.moveTo(x, y) }
  drawing = true; $("heat").hidden = true; pen.lineTo(x, y); pen.stroke(); predictSoon();
}
canvas.onpointerdown = event => { stopCamera(); canvas.setPointerCapture(event.pointerId); stroke(event) };
canvas.onpointermove = event => { if (drawing) stroke(event) };
canvas.onpointerup = canvas.onpointercancel = () => { drawing = false };
$("clear").onclick = () => { stopCamera(); clear() };
$("invert").onclick = () => {
  pen.globalCompositeOperation = "difference"; pen.fillStyle = "#fff"; pen.fillRect(0, 0, 320, 320);
  pen.globalCompositeOperation = "source-over"; predictSoon();
};
$("choose").onclick = () => $("file").click();
$("file").onchange = event => { open(event.target.files[0]); event.target.value = "" };
document.ondragover = event => { event.preventDefault(); canvas.classList.add("over") };
document.ondragleave = () => canvas.classList.remove("over");
document.ondrop = event => { event.preventDefault(); canvas.classList.remove("over"); if (model()?.image) open(event.dataTransfer.files[0]) };
document.onpaste = event => { if (model()?.image && event.clipboardData.files.length) open(event.clipboardData.files[0]) };
$("predict").onclick = () => { if ($("sentence").value.trim()) predict($("sentence").value, "text") };
$("sentence").onkeydown = event => { if (event.key == "Enter" && !event.shiftKey) { event.preventDefault(); $("predict").click() } };

// The camera: browsers allow it over https and from the same machine.
let stream = null;
$("camera").hidden = !navigator.mediaDevices?.getUserMedia;
function stopCamera() {
  for (const track of stream?.getTracks() || []) track.stop();
  stream = null;
  $("camera").setAttribute("aria-pressed", false);
}
$("camera").onclick = async () => {
  if (stream) return stopCamera();
  clear();
  try {
    stream = await navigator.mediaDevices.getUserMedia({video: {facingMode: "environment"}});
  } catch (error) {
    return report(`The camera cannot be used: ${error.message}.`, true);
  }
  $("camera").setAttribute("aria-pressed", true);
  const video = make("video", {srcObject: stream, muted: true, playsInline: true}), mine = stream;
  await video.play();
  while (stream === mine) {
    const side = Math.min(video.videoWidth, video.videoHeight);
    pen.drawImage(video, (video.videoWidth - side) / 2, (video.videoHeight - side) / 2, side, side, 0, 0, 320, 320);
    await predict(bytes(canvas.toDataURL("image/jpeg", .9)), "image");
    await new Promise(done => setTimeout(done, 250));
  }
};

function show() {
  stopCamera();
  clear();
  const {image, text, samples} = model();
  $("image").hidden = !image; $("text").hidden = !text; $("samples").hidden = !samples.length;
  $("occlude").textContent = image ? "Where does it look?" : "Which words count?";
  $("sample-list").replaceChildren(...samples.map((sample, i) => {
    const button = image ? make("button", {title: `example ${i + 1}`}, make("img", {src: sample, alt: `example ${i + 1}`}))
                         : make("button", {className: "sentence", textContent: sample});
    button.onclick = () => {
      stopCamera();
      if (image) load(sample);
      else { $("sentence").value = sample; $("predict").click() }
    };
    return button;
  }));
  if (!image && !text) report("This model takes neither image files nor sentences; send requests to v1/models.", true);
}
$("model").onchange = show;
fetch(ROOT + "models").then(response => response.json()).then(content => {
  models = content;
  $("model").replaceChildren(...Object.keys(content).map(name => make("option", {textContent: name})));
  show();
}).catch(error => report(`The server does not respond: ${error.message}`, true));
