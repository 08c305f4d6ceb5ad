// Quotas and rates, at a host that allows one sandbox at a time and three creations of a key.
import assert from 'node:assert/strict'
import { Sandbox } from 'e2b'
import { failure, group, run, test } from './harness.mjs'

const keys = process.env.LIMITED_KEYS.split(',')
const at = (index) => ({ apiUrl: process.env.LIMITED_URL, sandboxUrl: process.env.LIMITED_URL, apiKey: keys[index] })
const raw = (index, path, options = {}) => fetch(process.env.LIMITED_URL + path, { ...options, headers: { 'X-API-KEY': keys[index] } })
const create = { method: 'POST', body: '{"templateID":"base","timeout":60}' }

group('error: rate limit')

test('one sandbox too many is a limit that no waiting lifts', async () => {
  const first = await Sandbox.create(at(0))
  try {
    const error = await failure(Sandbox.create(at(0)))
    assert.equal(error.name, 'RateLimitError')
    assert.match(error.message, /maximum number of concurrent E2B sandboxes \(1\)/)
    const answer = await raw(0, '/v2/sandboxes', create)
    assert.equal(answer.status, 429)
    assert.equal(answer.headers.get('retry-after'), null)
    assert.equal(answer.headers.get('should-retry'), 'false')
  } finally {
    await first.kill()
  }
})

test('a paused sandbox does not count, its resume does', async () => {
  const first = await Sandbox.create(at(1))
  await first.pause()
  const second = await Sandbox.create(at(1))
  const error = await failure(Sandbox.connect(first.sandboxId, at(1)))
  assert.equal(error.name, 'RateLimitError')
  assert.equal((await Sandbox.getInfo(first.sandboxId, at(1))).state, 'paused')
  await second.kill()
  await Sandbox.connect(first.sandboxId, at(1))
  assert.equal(await first.kill(), true)
})

test('creations beyond the rate say how long to wait', async () => {
  for (let i = 0; i < 3; ++i) await (await Sandbox.create(at(2))).kill()
  const error = await failure(Sandbox.create(at(2)))
  assert.equal(error.name, 'RateLimitError')
  assert.match(error.message, /Rate limit exceeded/)
  const answer = await raw(2, '/sandboxes', create)
  assert.equal(answer.status, 429)
  assert.ok(Number(answer.headers.get('retry-after')) > 60)
  assert.equal(answer.headers.get('ratelimit-limit'), '3')
  assert.equal(answer.headers.get('ratelimit-remaining'), '0')
})

test('the rate is of one key and not of its neighbour, and lists are not creations', async () => {
  for (let i = 0; i < 3; ++i) await (await Sandbox.create(at(3))).kill()
  assert.equal((await failure(Sandbox.create(at(3)))).name, 'RateLimitError')
  assert.deepEqual(await Sandbox.list(at(3)).nextItems(), [])
  await (await Sandbox.create(at(4))).kill()
})

await run()
