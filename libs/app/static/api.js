// Talking to the server.  Commands go out one after another, each with the revision that it was made for.

export class ServerError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function answer(response) {
  const content = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new ServerError(content.error || `the server answered ${response.status}.`, response.status);
  }
  return content;
}

export async function reach(address, options) {
  try {
    return await fetch(address, options);
  } catch {
    throw new ServerError("The server does not answer. Is it still running? Everything that it has received is saved.", 0);
  }
}

export async function get(address) {
  return answer(await reach(address));
}

export async function post(address, payload) {
  const options = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(payload) };
  return answer(await reach(address, options));
}

// A file that is too large is refused here already: the server would break off the connection in the middle.
export async function upload(address, query, file, limit) {
  if (file.size > limit) {
    throw new ServerError(`${file.name} has ${Math.ceil(file.size / 2 ** 20)} MB; the limit is ${Math.floor(limit / 2 ** 20)} MB (--upload-limit-mb).`, 413);
  }
  const form = new FormData();
  form.append("file", file);
  return answer(await reach(`${address}?${new URLSearchParams(query)}`, { method: "POST", body: form }));
}

// A mask as {width, height, ids: Uint8Array}.
export async function getMask(frame, height, kind = "masks") {
  const response = await reach(`/api/${kind}/${frame}${height ? `?height=${height}` : ""}`);
  if (!response.ok) throw new ServerError(`the mask of frame ${frame + 1} cannot be had.`, response.status);
  const data = await response.arrayBuffer();
  const [width, rows] = new Uint32Array(data, 0, 2);
  return { width, height: rows, ids: new Uint8Array(data, 8) };
}

// `handler` gets every event; `lost` is called when the connection breaks (it comes back by itself), `found` when it is
// there or back, `refused` when the server does not let this page in any more: the browser gives up then.  A browser
// has six connections to a server for all its tabs together: a tab that nobody sees gives its own back, unless
// `needed()`.  Returns a function to be called when `needed()` may have changed.
export function listen(handler, { lost, found, refused, needed }) {
  let source = null;
  const open = () => {
    source = new EventSource("/api/events");
    source.onmessage = (message) => handler(JSON.parse(message.data));
    source.onopen = found;
    source.onerror = () => (source.readyState === EventSource.CLOSED ? refused() : lost());
  };
  const follow = () => {
    if (!document.hidden || needed()) {
      if (!source) open();
    } else if (source) {
      source.close();
      source = null;
    }
  };
  document.addEventListener("visibilitychange", follow);
  follow();
  return follow;
}
