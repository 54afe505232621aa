// The first page: ask, check each citation in its document, add documents.
// Everything that came from a server or a file reaches the page as text nodes,
// never as markup, so that a document cannot act on its reader.
"use strict";

// ---- Small pieces ---------------------------------------------------------

const $ = (id) => document.getElementById(id);
const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** One upload request stays well under the 4.5 MB that Lambda's payload leaves. */
const BATCH_BYTES = 4_000_000;
const FILE_BYTES = 4_500_000 - 2_000;
const PAGE_OF_DOCUMENTS = 25;
const RUN_ENDED = new Set(["SUCCEEDED", "PARTIAL", "FAILED", "STOPPED"]);
const BAD_STATUS = /fail|refus|reject|quarantin|error/i;

const state = {
  asking: null, // AbortController of the running question or search
  answer: "", // text received so far
  tail: "", // text held back because it may be half a marker
  citations: new Map(), // marker -> citation
  sources: [],
  lastMarker: null,
  openDocument: null, // {document_id, title, uri, text, bytes}
  cursor: null,
  conversation: null, // id of the conversation that the next question goes on
  conversations: true, // whether this deployment keeps any for this reader
};

/** Makes an element; strings become text nodes, `null` children are skipped. */
function el(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

const number = (value) => (Number.isFinite(value) ? value.toLocaleString("en") : "0");
const plural = (count, one) => `${number(count)} ${one}${count === 1 ? "" : "s"}`;
const words = (name) => String(name ?? "").toLowerCase().replaceAll("_", " ");
const space = () => $("space").value.trim() || "default";
const passageLink = ({ document_id, start, end }) =>
  `#document=${encodeURIComponent(document_id)}&start=${start}&end=${end}`;

// ---- Talking to the API ---------------------------------------------------

/** What went wrong, in the shape of an RFC 9457 problem, whatever failed. */
class Problem extends Error {
  constructor(problem) {
    super(problem.detail || problem.title || "The request failed.");
    this.problem = problem;
  }
}

const OFFLINE = {
  name: "Unreachable",
  title: "Outcrop can't be reached",
  detail: "Check that it is running and that this page still has a connection, then try again.",
  retry: true,
};

const CUT_OFF = {
  name: "StreamEnded",
  title: "The answer was cut off",
  detail: "The connection ended before the answer did. What arrived is shown above.",
  retry: true,
};

async function problemFrom(response) {
  const text = await response.text().catch(() => "");
  try {
    const body = JSON.parse(text);
    if (body && typeof body === "object" && (body.title || body.name || body.detail)) return new Problem(body);
  } catch {
    // Not JSON: a proxy or gateway answered instead of Outcrop.
  }
  const retry = response.status === 429 || response.status >= 500;
  const detail = retry ? "Wait a moment, then try again." : "Check the request and try again.";
  return new Problem({ name: `Http${response.status}`, title: `The server answered ${response.status}`, detail, retry });
}

async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(OFFLINE);
  }
  if (!response.ok) throw await problemFrom(response);
  return response;
}

const getJson = async (path) => (await call(path)).json();
const postJson = (path, body, options = {}) =>
  call(path, {
    method: "POST",
    body: JSON.stringify(body),
    ...options,
    headers: { "content-type": "application/json", ...options.headers },
  });

/** Server-sent events of a body, as {event, data}; comments are heartbeats. */
async function* serverSentEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  let event = "message";
  let data = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      pending += value ?? "";
      // A carriage return at the end may be the first half of CRLF: leave it for the next piece.
      const lines = pending.split(done ? /\r\n|\n|\r/ : /\r\n|\n|\r(?!$)/);
      pending = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (data.length) yield { event, data: data.join("\n") };
          event = "message";
          data = [];
        } else if (!line.startsWith(":")) {
          const [, field, text] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
          if (field === "event") event = text;
          if (field === "data") data.push(text);
        }
      }
      if (done) return;
    }
  } finally {
    reader.cancel().catch(() => {}); // Already broken or already ended: nothing is left to close.
  }
}

// ---- Notices --------------------------------------------------------------

function notice(title, detail, { calm = false, name = "", retry = null } = {}) {
  const again = retry && el("button", { type: "button", textContent: "Try again", onclick: retry });
  const code = name ? el("code", { textContent: name }) : null;
  $("notices").append(
    el("div", { className: calm ? "notice calm" : "notice" }, el("b", { textContent: title }), detail ?? "", " ", code, again && el("div", {}, again)),
  );
}

function noticeProblem(error, retry) {
  const problem = error.problem ?? { title: "This page stopped unexpectedly", detail: error.message, retry: true };
  notice(problem.title ?? "The request failed", problem.detail, { name: problem.name, retry: problem.retry ? retry : null });
}

/** A guard event: says which guard spoke and what the reader can do about it. */
function noticeGuard(guard) {
  const policy = guard.policy ?? guard.name ?? guard.guard;
  const action = words(guard.action ?? guard.verdict ?? "changed this answer");
  const masked = /mask|anonymi/.test(action);
  const advice = masked
    ? "Private details were replaced. The rest of the answer is unchanged."
    : "Ask in other words, or ask the people who run this service if the question should be allowed.";
  const title = policy ? `A guard stepped in: ${words(policy)}, ${action}` : `A guard stepped in: ${action}`;
  notice(title, guard.detail ?? guard.reason ?? guard.message ?? advice, { calm: masked });
}

// ---- Answer ---------------------------------------------------------------

function markerNode(marker) {
  const link = el("a", { className: "marker", textContent: marker });
  link.dataset.marker = marker;
  return upgradeMarker(link);
}

/** Turns a marker into a link once its citation is known. */
function upgradeMarker(link) {
  const citation = state.citations.get(link.dataset.marker);
  if (citation) {
    link.href = passageLink(citation);
    link.title = [citation.title, citation.page && `page ${citation.page}`].filter(Boolean).join(", ");
    link.setAttribute("aria-label", `Citation ${link.dataset.marker.slice(1, -1)}: ${citation.title ?? citation.uri ?? ""}`);
  }
  return link;
}

function appendAnswer(text, into = $("answer")) {
  for (const part of text.split(/(\[\d+\])/)) {
    if (part) into.append(/^\[\d+\]$/.test(part) ? markerNode(part) : part);
  }
}

/** Marks the sentences whose words no passage holds. Their places are bytes of the answer. */
function showSupport(answer, support) {
  const without = support.filter((sentence) => !sentence.supported);
  if (without.length === 0) return;
  const bytes = encoder.encode(answer);
  $("answer").replaceChildren();
  let at = 0;
  for (const { start, end } of without) {
    appendAnswer(slice(bytes, at, start));
    const span = el("span", { className: "unsupported", title: "No passage holds the words of this sentence" });
    appendAnswer(slice(bytes, start, end), span);
    $("answer").append(span);
    at = end;
  }
  appendAnswer(slice(bytes, at, bytes.length));
  const all = support.length === 1 ? "the answer's one sentence" : `${number(without.length)} of ${number(support.length)} sentences`;
  notice(`No passage holds the words of ${all}.`, "They are underlined. Check them in the documents before you rely on them.", { calm: true });
}

/** Shows streamed text; the start of a marker waits for its other half. */
function receiveText(text) {
  state.answer += text;
  const whole = state.tail + text;
  const held = /\[\d*$/.exec(whole)?.[0] ?? "";
  state.tail = held;
  appendAnswer(whole.slice(0, whole.length - held.length));
}

function receiveCitation(citation) {
  if (!citation?.marker || state.citations.has(citation.marker)) return;
  state.citations.set(citation.marker, citation);
  document.querySelectorAll("#answer a.marker").forEach(upgradeMarker);
  showCitedMarkers();
  drawCore();
}

function receiveReply(reply) {
  reply.citations?.forEach(receiveCitation);
  if (reply.sources) showSources(reply.sources, "Sources");
  if (typeof reply.answer === "string" && reply.answer !== state.answer) {
    state.answer = reply.answer;
    $("answer").replaceChildren();
    appendAnswer(reply.answer);
  } else {
    appendAnswer(state.tail);
  }
  state.tail = "";
  state.conversation = reply.conversation_id ?? null;
  $("follow-up").hidden = !state.conversation;
  if (reply.standalone_question) notice("Understood as:", reply.standalone_question, { calm: true });
  if (reply.answered) showSupport(reply.answer ?? "", reply.support ?? []);
  showUsage(reply.usage, reply.timings_ms);
  if (reply.answered === false) {
    const closest = state.sources.length ? " The closest passages are listed below." : " Add documents that cover it, or ask in other words.";
    notice("The documents don't answer this.", closest.trim(), { calm: true });
  }
}

function showUsage(usage, timings) {
  const parts = [];
  if (usage) {
    if (usage.model) parts.push(usage.model);
    parts.push(`${number(usage.input_tokens)} tokens in, ${number(usage.output_tokens)} out, ${number(usage.embedding_tokens)} embedded`);
  }
  if (timings) {
    parts.push(Object.entries(timings).map(([step, ms]) => `${words(step)} ${number(Math.round(ms))} ms`).join(", "));
  }
  $("usage").textContent = parts.join(". ");
  $("usage").hidden = parts.length === 0;
}

// ---- Sources and search results -------------------------------------------

function showSources(sources, heading) {
  state.sources = sources;
  $("sources-heading").textContent = heading;
  $("sources").replaceChildren(...sources.map(sourceItem));
  $("sources-block").hidden = sources.length === 0;
  showCitedMarkers();
}

function sourceItem(source, position) {
  const title = el("a", { className: "source-title", href: passageLink(source), textContent: source.title || source.uri });
  const markers = el("span", {});
  markers.dataset.passage = source.passage_id;
  return el(
    "li",
    { className: `stone-${position % 5}` },
    el("div", {}, title, " ", markers),
    el("p", { className: "source-path", textContent: [...(source.heading_path ?? []), ...(source.page ? [`page ${source.page}`] : [])].join(" / ") }),
    el("p", { className: "source-text", textContent: source.text ?? "" }),
  );
}

/** Writes beside each source the markers that cite it. */
function showCitedMarkers() {
  for (const slot of document.querySelectorAll("#sources span[data-passage]")) {
    const cited = [...state.citations.values()].filter((citation) => citation.passage_id === slot.dataset.passage);
    slot.replaceChildren(...cited.map((citation) => markerNode(citation.marker)));
  }
}

// ---- Ask and search -------------------------------------------------------

const task = () => document.querySelector("input[name=task]:checked").value;

function setBusy(busy) {
  $("submit").hidden = busy;
  $("stop").hidden = !busy;
  $("progress").hidden = !busy;
  $("answer").setAttribute("aria-busy", String(busy));
}

function clearResults(question) {
  Object.assign(state, { answer: "", tail: "", citations: new Map(), sources: [], lastMarker: null });
  $("notices").replaceChildren();
  $("answer").replaceChildren();
  $("usage").hidden = true;
  $("sources-block").hidden = true;
  $("answer-heading").textContent = question;
  $("answer-block").hidden = false;
  drawCore();
}

async function submit() {
  const question = $("question").value.trim();
  if (!question) {
    $("question").focus();
    return;
  }
  state.asking?.abort();
  const asking = new AbortController();
  state.asking = asking;
  clearResults(question);
  $("progress").textContent = task() === "ask" ? "Reading the passages" : "Searching";
  setBusy(true);
  try {
    await (task() === "ask" ? ask(question, asking.signal) : search(question, asking.signal));
  } catch (error) {
    if (state.asking !== asking) return;
    if (asking.signal.aborted) {
      notice("Stopped.", state.answer ? "The answer above is incomplete." : "Nothing was answered.", { calm: true });
    } else {
      noticeProblem(error, submit);
    }
  } finally {
    if (state.asking === asking) {
      state.asking = null;
      setBusy(false);
    }
  }
}

/** Asks within the conversation of this page; begins another where that one has ended or none is kept. */
async function openAnswer(question, signal) {
  const conversation_id = state.conversations ? state.conversation ?? "new" : undefined;
  try {
    const body = { question, space: space(), conversation_id };
    return await postJson("/v1/ask", body, { signal, headers: { accept: "text/event-stream" } });
  } catch (error) {
    const name = error.problem?.name;
    if (name === "ConversationsOff" && state.conversations) state.conversations = false;
    else if (/^Conversation(NotFound|TooLong)$/.test(name) && state.conversation) beginAnew();
    else throw error;
    return openAnswer(question, signal);
  }
}

function beginAnew() {
  state.conversation = null;
  $("follow-up").hidden = true;
}

async function ask(question, signal) {
  const response = await openAnswer(question, signal);
  if (!response.headers.get("content-type")?.startsWith("text/event-stream")) {
    receiveReply(await response.json());
    return;
  }
  try {
    for await (const { event, data } of serverSentEvents(response.body)) {
      if (receiveEvent(event, JSON.parse(data))) return;
    }
  } catch (error) {
    // A connection that breaks while it is read is a TypeError; all else keeps its own name.
    if (!(error instanceof TypeError)) throw error;
  }
  throw new Problem(CUT_OFF);
}

/** Applies one event of an answer; true when it was the last one. */
function receiveEvent(event, data) {
  if (event === "sources") showSources(data.sources ?? [], "Sources");
  if (event === "delta") {
    $("progress").textContent = "Answering";
    receiveText(data.text ?? "");
  }
  if (event === "citation") receiveCitation(data.citation ?? data);
  if (event === "guard") noticeGuard(data.guard ?? data);
  if (event === "usage") showUsage(data.usage ?? data, null);
  if (event === "error") throw new Problem(data);
  if (event === "done") receiveReply(data);
  return event === "done";
}

async function search(query, signal) {
  const response = await postJson("/v1/search", { query, space: space(), mode: $("ranking").value }, { signal });
  const { results = [], took_ms } = await response.json();
  showSources(results, `${plural(results.length, "passage")} found`);
  $("usage").textContent = Number.isFinite(took_ms) ? `Searched in ${number(Math.round(took_ms))} ms` : "";
  $("usage").hidden = !$("usage").textContent;
  if (results.length === 0) notice("No passage matches.", "Try fewer or other words, or another ranking.", { calm: true });
}

// ---- Reader ---------------------------------------------------------------

/** The nearest character start at or before a byte offset. */
function characterStart(bytes, offset) {
  let at = Math.max(0, Math.min(offset, bytes.length));
  while (at > 0 && at < bytes.length && (bytes[at] & 0xc0) === 0x80) at -= 1;
  return at;
}

const slice = (bytes, start, end) => decoder.decode(bytes.subarray(start, end));

async function openFromHash() {
  const target = new URLSearchParams(location.hash.slice(1));
  const id = target.get("document");
  if (!id) {
    closeReader();
    return;
  }
  const start = Number.parseInt(target.get("start") ?? "", 10);
  const end = Number.parseInt(target.get("end") ?? "", 10);
  $("reader").hidden = false;
  $("library").hidden = true;
  $("reader-back").hidden = $("answer-block").hidden;
  try {
    if (state.openDocument?.document_id !== id) await loadDocument(id);
    if (new URLSearchParams(location.hash.slice(1)).get("document") === id) showPassage(start, end);
  } catch (error) {
    state.openDocument = null;
    $("reader-title").textContent = error.problem?.title ?? "The document can't be shown";
    $("reader-where").textContent = "";
    showWarning(error.problem?.detail ?? error.message);
  }
}

async function loadDocument(id) {
  state.openDocument = null;
  $("reader-title").textContent = "Opening the document";
  $("reader-where").textContent = "";
  showWarning("");
  $("reader-text").replaceChildren();
  $("core").replaceChildren();
  const opened = await getJson(`/v1/documents/${encodeURIComponent(id)}/text`);
  state.openDocument = { ...opened, document_id: id, bytes: encoder.encode(opened.text ?? "") };
}

/** Shows the open document with bytes `start..end` marked, if they are given. */
function showPassage(start, end) {
  const { bytes, text, title, uri } = state.openDocument;
  $("reader-title").textContent = title || uri;
  showWarning("");
  if (!(start >= 0 && end > start)) {
    $("reader-text").replaceChildren(text ?? "");
    $("reader-text").scrollTop = 0;
    $("reader-where").textContent = `${number(bytes.length)} bytes`;
    drawCore();
    showReader($("reader-title"));
    return;
  }
  const from = characterStart(bytes, start);
  const to = characterStart(bytes, end);
  const mark = el("mark", { tabIndex: -1, textContent: slice(bytes, from, to) });
  $("reader-text").replaceChildren(slice(bytes, 0, from), mark, slice(bytes, to));
  $("reader-where").textContent = `Bytes ${number(start)} to ${number(end)} of ${number(bytes.length)}`;
  checkQuote(start, end, mark.textContent);
  drawCore(start, end);
  const smooth = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  showReader(mark);
  const top = mark.offsetTop - $("reader-text").offsetTop - $("reader-text").clientHeight / 4;
  $("reader-text").scrollTo({ top, behavior: smooth ? "smooth" : "auto" });
}

/** Moves to the reader; in one column it lies below the answer. */
function showReader(focus) {
  if (matchMedia("(max-width: 56rem)").matches) $("reader").scrollIntoView({ block: "start" });
  focus.focus({ preventScroll: true });
}

/** A citation's quote is the stored bytes; if they differ now, the document has changed. */
function checkQuote(start, end, shown) {
  const id = state.openDocument.document_id;
  for (const citation of state.citations.values()) {
    const same = citation.document_id === id && citation.start === start && citation.end === end;
    if (same && typeof citation.quote === "string" && citation.quote !== shown) {
      showWarning("This document has changed since it was cited. Ask again to cite its current text.");
    }
  }
}

function showWarning(text) {
  $("reader-warning").textContent = text;
  $("reader-warning").hidden = !text;
}

/** Draws the cited passages of the open document at their depth. */
function drawCore(start, end) {
  const length = state.openDocument?.bytes.length;
  if (!length) return;
  const cited = [...state.citations.values()].filter((citation) => citation.document_id === state.openDocument.document_id);
  $("core").replaceChildren(
    ...cited.map((citation) => {
      const bed = Math.max(0, state.sources.findIndex((source) => source.passage_id === citation.passage_id));
      const band = el("a", { className: `stone-${bed % 5}`, href: passageLink(citation), title: citation.marker });
      band.setAttribute("aria-label", `Citation ${citation.marker.slice(1, -1)}, ${Math.round((100 * citation.start) / length)}% into the document`);
      if (citation.start === start && citation.end === end) band.setAttribute("aria-current", "true");
      band.style.top = `${Math.min(96, (100 * citation.start) / length)}%`;
      band.style.height = `${(100 * (citation.end - citation.start)) / length}%`;
      return band;
    }),
  );
  for (const link of document.querySelectorAll("a.marker")) {
    if (link.hash && link.hash === location.hash) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

function closeReader() {
  const wasOpen = !$("reader").hidden;
  $("reader").hidden = true;
  $("library").hidden = false;
  document.querySelectorAll("a.marker[aria-current]").forEach((link) => link.removeAttribute("aria-current"));
  if (wasOpen) (state.lastMarker?.isConnected ? state.lastMarker : $("library-heading")).focus?.();
}

// ---- Documents ------------------------------------------------------------

async function listDocuments({ more = false } = {}) {
  const query = new URLSearchParams({ space: space(), limit: PAGE_OF_DOCUMENTS });
  if (more && state.cursor) query.set("cursor", state.cursor);
  try {
    const { documents = [], next_cursor = null } = await getJson(`/v1/documents?${query}`);
    if (!more) $("documents").replaceChildren();
    $("documents").append(...documents.map(documentItem));
    state.cursor = next_cursor;
    $("more").hidden = !next_cursor;
    $("documents-empty").hidden = $("documents").childElementCount > 0;
  } catch (error) {
    if (!more) $("documents").replaceChildren();
    $("more").hidden = true;
    noticeProblem(error, () => listDocuments());
  }
}

function documentItem(item) {
  const bad = BAD_STATUS.test(item.status ?? "");
  const updated = new Date(item.updated_at);
  const when = Number.isNaN(updated.getTime()) ? "" : `, updated ${updated.toLocaleDateString()}`;
  return el(
    "li",
    {},
    el("a", { href: `#document=${encodeURIComponent(item.document_id)}`, textContent: item.title || item.name }),
    el("span", { className: bad ? "status bad" : "status", textContent: words(item.status) }),
    el("span", { className: "measure", textContent: `${item.name}: ${plural(item.passages, "passage")}, ${number(item.bytes)} bytes${when}` }),
    item.reason ? el("span", { className: bad ? "warning" : "measure", textContent: item.reason }) : null,
  );
}

async function showHealth() {
  try {
    const health = await getJson(`/v1/health?${new URLSearchParams({ space: space() })}`);
    $("health").textContent = `${plural(health.passages, "passage")} in ${plural(health.documents, "document")}`;
  } catch {
    // The line keeps its sentence; the documents list reports what is wrong.
  }
}

const refresh = () => Promise.all([listDocuments(), showHealth()]);

// ---- Upload ---------------------------------------------------------------

/** Groups files so that each request stays under the payload limit. */
function batches(files) {
  const groups = [];
  let bytes = Infinity;
  for (const file of files) {
    if (bytes + file.size > BATCH_BYTES) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1).push(file);
    bytes += file.size;
  }
  return groups;
}

function runLine(text) {
  const line = el("p", { textContent: text });
  const failures = el("ul", {});
  const box = el("div", { className: "run" }, line, failures);
  $("runs").prepend(box);
  return {
    say: (message) => (line.textContent = message),
    /** Offers to do again what failed; once. */
    offer: (again) => {
      const button = el("button", { type: "button", textContent: "Try what failed again" });
      button.addEventListener("click", () => {
        button.remove();
        again();
      });
      box.append(button);
    },
    fail: (...reasons) => failures.replaceChildren(...reasons.map((reason) => el("li", { className: "warning", textContent: reason }))),
  };
}

async function upload(files) {
  const large = files.filter((file) => file.size > FILE_BYTES);
  if (large.length) {
    const line = runLine(`${plural(large.length, "file")} not sent`);
    line.fail(...large.map((file) => `${file.name}: ${number(file.size)} bytes is over 4.5 MB. Send it with POST /v1/uploads.`));
  }
  for (const group of batches(files.filter((file) => file.size <= FILE_BYTES))) await uploadGroup(group);
}

async function uploadGroup(group) {
  const names = group.length === 1 ? group[0].name : plural(group.length, "file");
  const line = runLine(`Sending ${names}`);
  const form = new FormData();
  form.append("space", space());
  for (const file of group) form.append("files", file, file.name);
  try {
    const accepted = await (await call("/v1/documents", { method: "POST", body: form })).json();
    await followRun(accepted.run_id, names, line);
  } catch (error) {
    line.say(`${names}: ${error.problem?.title ?? "not sent"}`);
    line.fail(error.message);
  }
  await refresh();
}

/** Asks for the run until it has ended, more slowly the longer it takes. */
async function followRun(runId, names, line) {
  for (let wait = 400; ; wait = Math.min(5000, wait * 1.4)) {
    const run = await getJson(`/v1/runs/${encodeURIComponent(runId)}`);
    const counts = Object.entries(run.counts ?? {}).filter(([kind, count]) => count > 0 && kind !== "planned");
    const summary = counts.map(([kind, count]) => `${number(count)} ${kind}`).join(", ");
    line.say(`${names}: ${words(run.status)}${summary ? `, ${summary}` : ""}${run.reason ? `. ${run.reason}` : ""}`);
    line.fail(...(run.failures ?? []).map((failure) => `${failure.name}: ${failure.reason ?? failure.error}${failure.reason && failure.error ? ` (${failure.error})` : ""}`));
    if (RUN_ENDED.has(run.status)) {
      if (run.counts?.failed > 0) line.offer(() => redrive(runId, names, line));
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

/** Does again what a run left undone, in the run's own line. */
async function redrive(runId, names, line) {
  try {
    const reply = await call(`/v1/runs/${encodeURIComponent(runId)}/redrive`, { method: "POST" });
    await followRun((await reply.json()).run_id, names, line);
  } catch (error) {
    line.say(`${names}: ${error.problem?.title ?? "not tried again"}`);
    line.fail(error.message);
  }
  await refresh();
}

// ---- Wiring ---------------------------------------------------------------

function showTask() {
  const asking = task() === "ask";
  $("submit").textContent = asking ? "Ask" : "Search";
  $("ranking-field").hidden = asking;
  $("question-label").textContent = asking ? "Your question" : "Words to search for";
  $("question").placeholder = asking ? "What do you want to know?" : "Words to search for";
}

function wireDrop() {
  const drop = $("drop");
  const over = (on) => (event) => {
    event.preventDefault();
    drop.classList.toggle("over", on);
  };
  drop.addEventListener("dragover", over(true));
  drop.addEventListener("dragleave", over(false));
  drop.addEventListener("drop", (event) => {
    over(false)(event);
    upload([...event.dataTransfer.files]);
  });
  // A file dropped beside the target must not replace the page.
  for (const type of ["dragover", "drop"]) addEventListener(type, (event) => event.preventDefault());
  $("files").addEventListener("change", () => {
    upload([...$("files").files]);
    $("files").value = "";
  });
}

function wire() {
  $("ask-form").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  $("question").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  $("stop").addEventListener("click", () => state.asking?.abort());
  $("more").addEventListener("click", () => listDocuments({ more: true }));
  $("anew").addEventListener("click", beginAnew);
  $("space").addEventListener("change", () => {
    beginAnew();
    refresh();
  });
  $("reader-close").addEventListener("click", (event) => {
    event.preventDefault();
    history.pushState(null, "", location.pathname);
    closeReader();
  });
  $("reader-back").addEventListener("click", (event) => {
    event.preventDefault();
    $("answer-block").scrollIntoView({ block: "start" });
    if (state.lastMarker?.isConnected) state.lastMarker.focus({ preventScroll: true });
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a.marker[href], a.source-title");
    if (!link) return;
    state.lastMarker = link;
    if (link.hash === location.hash) openFromHash(); // The same passage again: bring it back into view.
  });
  document.querySelectorAll("input[name=task]").forEach((radio) => radio.addEventListener("change", showTask));
  addEventListener("hashchange", openFromHash);
  wireDrop();
  showTask();
}

wire();
refresh();
openFromHash();
