// What the official SDK stands on: undici's fetch, as node has it built in. Keeps `inFlight`
// requests to `url` under way until `total` are done, and prints the CPU time they took.
//
//   node http_baseline.mjs URL TOTAL IN_FLIGHT
const [url, totalText, inFlightText] = process.argv.slice(2);
const total = Number(totalText);
const inFlight = Number(inFlightText);

let failed = 0;
async function run(count) {
  let next = 0;
  async function lane() {
    while (next < count) {
      next += 1;
      try {
        const answer = await fetch(url);
        const text = await answer.text();
        if (answer.status !== 200 || text.length === 0) failed += 1;
      } catch {
        failed += 1;
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(inFlight, count) }, lane));
}

await run(Math.ceil(total / 4)); // connections are open and the code is compiled
const begin = process.hrtime.bigint();
const before = process.cpuUsage();
await run(total);
const cpu = process.cpuUsage(before);
const wall = process.hrtime.bigint() - begin;
console.log(`${(cpu.user + cpu.system) / total} ${Number(wall) / 1e6} ${failed}`);
process.exit(failed ? 1 : 0);
