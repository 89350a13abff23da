// Node's fetch: one after another, all at once, and as streams, which are sent in chunks.
import { readFileSync } from "node:fs";

const [url, file] = process.argv.slice(2);
const lines = readFileSync(file, "utf8").trim().split("\n");

async function post(body) {
  const response = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body, duplex: "half" });
  return `${response.status} ${await response.text()}`;
}

for (const line of lines) console.log(await post(line));
for (const answer of await Promise.all(lines.map(post))) console.log(answer);
for (const line of lines) console.log(await post(new Blob([line]).stream()));
