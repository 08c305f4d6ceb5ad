// Each class of error, told apart as the SDK tells them apart.
import assert from 'node:assert/strict'
import { Sandbox } from 'e2b'
import { api, create, failure, run, test } from './harness.mjs'

test('a sandbox that never was is not found by any call, and kill says false', async () => {
  const id = 'inosuchsandbox0000000'
  assert.equal(await Sandbox.kill(id), false)
  assert.equal((await failure(Sandbox.connect(id))).name, 'SandboxNotFoundError')
  assert.equal((await failure(Sandbox.getInfo(id))).name, 'SandboxNotFoundError')
  assert.equal((await failure(Sandbox.setTimeout(id, 1000))).name, 'SandboxNotFoundError')
})

test('an error of the control API repeats its status in the body', async () => {
  for (const [path, options, status] of [
    ['/sandboxes/inosuchsandbox0000000', {}, 404],
    ['/v2/sandboxes', { method: 'POST', body: 'no json' }, 400],
    ['/v2/sandboxes', { method: 'POST', body: '{"templateID":"base","timeout":0}' }, 400],
    ['/v2/sandboxes', { method: 'POST', body: '{"templateID":"base","timeout":90000}' }, 400],
    ['/v2/sandboxes?nextToken=garbage', {}, 400],
    ['/v2/sandboxes?state=dancing', {}, 400],
    ['/sandboxes/NOT-AN-ID/timeout', { method: 'POST', body: '{"timeout":1}' }, 400],
  ]) {
    const answer = await api(path, options)
    assert.equal(answer.status, status, path)
    const body = await answer.json()
    assert.equal(body.code, status)
    assert.ok(body.message.length > 3)
  }
})

test('a timeout beyond a day is refused, not shortened', async () => {
  const error = await failure(Sandbox.create({ timeoutMs: 25 * 3_600_000 }))
  assert.match(error.message, /400/)
  assert.match(error.message, /Timeout cannot be greater than 24 hours/)
})

test('commands and files of a killed sandbox say that it is gone', async () => {
  const sandbox = await create()
  await sandbox.kill()
  const command = await failure(sandbox.commands.run('true'))
  assert.ok(['SandboxNotFoundError', 'TimeoutError'].includes(command.name), command.name)
  const file = await failure(sandbox.files.read('/etc/passwd'))
  assert.match(file.message, /The sandbox was not found/)
})

test('a dead sandbox answers 502 with its id, an unknown path of a live one 404', async () => {
  const sandbox = await create()
  const routed = { 'E2b-Sandbox-Id': sandbox.sandboxId, 'E2b-Sandbox-Port': '49983' }
  const ask = (path) => fetch(process.env.E2B_SANDBOX_URL + path, { headers: { ...routed, 'X-Access-Token': 'none' } })
  const reserved = await fetch(process.env.E2B_SANDBOX_URL + '/init', { method: 'POST', headers: routed })
  assert.equal(reserved.status, 404)
  assert.equal((await reserved.json()).path, '/init')
  await sandbox.kill()
  const dead = await ask('/health')
  assert.equal(dead.status, 502)
  assert.deepEqual(await dead.json(), { sandboxId: sandbox.sandboxId, message: 'The sandbox was not found', code: 502 })
})

test('a user that does not exist inside is an authentication error', async () => {
  const sandbox = await create()
  const error = await failure(sandbox.commands.run('true', { user: 'zz' }))
  assert.equal(error.name, 'AuthenticationError')
  assert.match(error.message, /invalid username: 'zz'/)
})

test('routing headers come in pairs', async () => {
  const answer = await fetch(process.env.E2B_SANDBOX_URL + '/health', { headers: { 'E2b-Sandbox-Id': 'i1' } })
  assert.equal(answer.status, 400)
  assert.equal(await answer.text(), 'missing header')
})

await run()
