// What the built site's search finds first, by the theme's own search worker and index:
//
//     mkdocs build -d site && node .ci/search.mjs site
//
// A line a query; ends with 1 where another page comes first.

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import vm from "node:vm";

// what is typed -> the page that has to come first
const WANTED = {
  "own environment": "tutorials/environment/",
  "free nats": "tutorials/objective/",
  "resume": "runs/",
  "LeRobot": "data/",
  "train ratio": "tutorials/replay/",
  "KullbackLeibler": "reference/losses/",
  "pyro": "tutorials/from_pyro/",
  "watchdog": "robots/",
};

const site = process.argv[2];
const workers = join(site, "assets/javascripts/workers");
const file = readdirSync(workers).find((name) => /^search\..*\.js$/.test(name));
const index = JSON.parse(readFileSync(join(site, "search/search_index.json"), "utf8"));

let heard, answer;
const worker = {
  console,
  addEventListener: (_, listener) => (heard = listener),
  postMessage: (message) => answer(message),
};
worker.self = worker;
vm.runInNewContext(readFileSync(join(workers, file), "utf8"), vm.createContext(worker));
const say = (data) => new Promise((resolve) => ((answer = resolve), heard({ data })));

await say({ type: 0, data: { ...index, options: { suggest: false } } });
let wrong = 0;
for (const [query, page] of Object.entries(WANTED)) {
  const { data } = await say({ type: 2, data: query });
  const pages = data.items.map((items) => items[0].location.split("#")[0]);
  const found = [...new Set(pages)];
  const right = found[0] === page;
  wrong += !right;
  console.log(`${right ? "ok" : "WRONG"}: "${query}" finds ${found.slice(0, 4).join(", ")}`);
}
process.exit(wrong ? 1 : 0);
