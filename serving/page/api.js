// The routes of this server. A refusal is an error with the server's own title and detail.

export class Refused extends Error {
  constructor(status, said) {
    super(said.detail ?? `the server answers ${status}`);
    this.status = status;
    this.title = said.title ?? "Refused";
    this.errors = said.errors ?? [];
  }
}

const PASSING = new Set([429, 503]);
const TRIES = 5;
const LONE_FIRST = 0xd800;
const LONE_LAST = 0xdfff;

/** An id as one segment of a path: every id that a log can have, also half a surrogate pair. */
export function segment(id) {
  return [...id]
    .map((char) => {
      const code = char.codePointAt(0);
      if (code < LONE_FIRST || code > LONE_LAST) return encodeURIComponent(char);
      return [0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63)]
        .map((byte) => `%${byte.toString(16).toUpperCase()}`)
        .join("");
    })
    .join("");
}

/** GET, or POST where there is a body. Parameters of null are left out, lists repeat; `head` gets the headers. What passes by itself is tried again. */
export async function ask(path, { query = {}, body, key, signal, head, tries = key ? 1 : TRIES } = {}) {
  const words = Object.entries(query).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value])
      .filter((one) => one !== null && one !== undefined && one !== "")
      .map((one) => `${name}=${segment(String(one))}`),
  );
  const options = { signal, headers: {} };
  if (body !== undefined) {
    options.method = "POST";
    options.body = JSON.stringify(body);
    options.headers["content-type"] = "application/json";
  }
  if (key) options.headers.authorization = `Bearer ${key}`;
  const url = words.length ? `${path}?${words.join("&")}` : path;
  for (let left = tries - 1; ; left--) {
    const [answer, said] = await answered(url, options);
    if (answer.ok) {
      head?.(answer.headers);
      return said;
    }
    if (!left || !PASSING.has(answer.status)) throw new Refused(answer.status, said);
    await new Promise((done) => setTimeout(done, 1000 * (Number(answer.headers.get("retry-after")) || 1)));
  }
}

async function answered(url, options) {
  try {
    const answer = await fetch(url, options);
    return [answer, await answer.json().catch(() => ({}))];
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { title: "No answer", detail: "the server cannot be reached; is it still running?" });
  }
}

let declared;

/** Whether the server has a route: as its OpenAPI declares, asked once. */
export async function has(path, method = "get") {
  declared ??= ask("/openapi.json").then((said) => said.paths);
  try {
    return Boolean((await declared)[path]?.[method]);
  } catch (error) {
    declared = undefined;
    throw error;
  }
}
