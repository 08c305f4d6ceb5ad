// Runs the cases of one script against the host that E2B_API_URL names, one after the other, and prints a line for each:
// `ok - NAME # GROUP` or `not ok - NAME: why`. Every wait of a case has its deadline here.
import { Sandbox } from 'e2b'

const limitMs = 120_000
const cases = []
const made = new Set()
let current = ''

/** The cases that follow belong to this group; each group has at least four. */
export function group(name) {
  current = name
}

export function test(name, body) {
  cases.push({ name, group: current, body })
}

/** A sandbox of this script alone, killed at its end. */
export async function create(...args) {
  const sandbox = await Sandbox.create(...args)
  made.add(sandbox.sandboxId)
  return sandbox
}

/** The error of a call that must fail. */
export async function failure(promise) {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error('the call succeeded and should have failed')
}

/** Asks again until `done` gives something true, at most 15 s. */
export async function until(done, what) {
  const end = Date.now() + 15_000
  while (Date.now() < end) {
    const result = await done()
    if (result) return result
    await new Promise((next) => setTimeout(next, 20)) // sleep: between two looks, until the end above
  }
  throw new Error(`not within 15 s: ${what}`)
}

/** What `fetch` gives for a path of the control API. */
export function api(path, options = {}) {
  const headers = { 'X-API-KEY': process.env.E2B_API_KEY, ...options.headers }
  return fetch(process.env.E2B_API_URL + path, { ...options, headers })
}

async function limited(body) {
  let timer
  const late = new Promise((_, reject) => {
    // sleep: no wait but the deadline of a case
    timer = setTimeout(() => reject(new Error(`not over within ${limitMs} ms`)), limitMs)
  })
  try {
    await Promise.race([body(), late])
  } finally {
    clearTimeout(timer)
  }
}

export async function run() {
  const only = process.argv[2] ?? ''
  let failed = 0
  for (const { name, group, body } of cases.filter((c) => c.name.includes(only))) {
    try {
      await limited(body)
      console.log(`ok - ${name} # ${group}`)
    } catch (error) {
      failed += 1
      const why = String(error?.stack ?? error).split('\n').slice(0, 6).join(' | ')
      console.log(`not ok - ${name}: ${why}`)
    }
  }
  for (const id of made) await Sandbox.kill(id).catch(() => {})
  process.exit(failed ? 1 : 0)
}
