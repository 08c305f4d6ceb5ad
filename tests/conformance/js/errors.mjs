// Each class of error that the SDK has for what a host says, told apart as the SDK tells them apart.
import assert from 'node:assert/strict'
import { Sandbox } from 'e2b'
import { api, create, failure, group, run, test, until } from './harness.mjs'

const nobody = 'inosuchsandbox0000000'
const wrongKey = { apiKey: `e2b_${'f'.repeat(40)}` }
const sandbox = await create()
await sandbox.files.write('plain', 'x')

async function fails(promise, name, text) {
  const error = await failure(promise)
  assert.equal(error.name, name, `${error.name}: ${error.message}`)
  if (text) assert.match(error.message, text)
  return error
}

group('error: sandbox not found')

test('connecting to a sandbox that never was is not found, and kill says false', async () => {
  await fails(Sandbox.connect(nobody), 'SandboxNotFoundError')
  assert.equal(await Sandbox.kill(nobody), false)
})

test('there is no information on a sandbox that never was', () => fails(Sandbox.getInfo(nobody), 'SandboxNotFoundError'))

test('the lease of a sandbox that never was cannot be set', () => fails(Sandbox.setTimeout(nobody, 1000), 'SandboxNotFoundError'))

test('a sandbox that never was cannot be paused', () => fails(Sandbox.pause(nobody), 'SandboxNotFoundError'))

test('a command in a killed sandbox says that it is gone', async () => {
  const gone = await create()
  await gone.kill()
  await fails(gone.commands.run('true'), 'SandboxNotFoundError')
})

group('error: file not found')

test('reading a file that is not there', () => fails(sandbox.files.read('/no/such/file'), 'FileNotFoundError', /no\/such\/file/))

test('looking at a file that is not there', () => fails(sandbox.files.getInfo('/no/such/file'), 'FileNotFoundError'))

test('renaming a file that is not there', () => fails(sandbox.files.rename('/no/such/file', '/tmp/x'), 'FileNotFoundError'))

test('listing and watching a directory that is not there', async () => {
  await fails(sandbox.files.list('/no/such'), 'FileNotFoundError')
  await fails(sandbox.files.watchDir('/no/such', () => {}), 'FileNotFoundError')
})

group('error: process not found')

test('input for a process that never was', () => fails(sandbox.commands.sendStdin(99999999, 'x'), 'NotFoundError', /99999999/))

test('the end of input for a process that never was', () => fails(sandbox.commands.closeStdin(99999999), 'NotFoundError'))

test('connecting to a process that never was', () => fails(sandbox.commands.connect(99999999), 'NotFoundError'))

test('another size for a terminal that never was', () => fails(sandbox.pty.resize(99999999, { cols: 80, rows: 24 }), 'NotFoundError'))

group('error: authentication')

test('a key that is unknown creates nothing', () => fails(Sandbox.create(wrongKey), 'AuthenticationError'))

test('a key that is unknown lists nothing', () => fails(Sandbox.list(wrongKey).nextItems(), 'AuthenticationError'))

test('a key that is unknown kills nothing', async () => {
  await fails(Sandbox.kill(sandbox.sandboxId, wrongKey), 'AuthenticationError')
  assert.equal(await sandbox.isRunning(), true)
})

test('a user that does not exist inside is refused', () => fails(sandbox.commands.run('true', { user: 'zz' }), 'AuthenticationError', /invalid username: 'zz'/))

group('error: invalid argument')

test('a work directory that is not there', () => fails(sandbox.commands.run('true', { cwd: '/no/such' }), 'InvalidArgumentError', /cwd '\/no\/such' does not exist/))

test('listing a file', () => fails(sandbox.files.list('plain'), 'InvalidArgumentError'))

test('watching a file', () => fails(sandbox.files.watchDir('plain', () => {}), 'InvalidArgumentError'))

test('making a directory where a file is', () => fails(sandbox.files.makeDir('plain'), 'InvalidArgumentError'))

group('error: timeout')

test('a command beyond its limit', () => fails(sandbox.commands.run('sleep 100', { timeoutMs: 300 }), 'TimeoutError', /deadline_exceeded|timeout/i))

test('a terminal beyond its limit', async () => {
  const handle = await sandbox.pty.create({ cols: 80, rows: 24, onData: () => {}, timeoutMs: 300 })
  await fails(handle.wait(), 'TimeoutError')
})

test('a file of a killed sandbox', async () => {
  const gone = await create()
  await gone.kill()
  await fails(gone.files.read('/etc/passwd'), 'TimeoutError', /The sandbox was not found/)
})

test('a listing in a killed sandbox', async () => {
  const gone = await create()
  await gone.kill()
  await fails(gone.files.list('/'), 'TimeoutError', /The sandbox was not found/)
})

group('error: command exit')

test('a program that is not there', async () => {
  const error = await fails(sandbox.commands.run('/no/such/program'), 'CommandExitError')
  assert.equal(error.exitCode, 127)
  assert.match(error.stderr, /No such file/)
})

test('a command that ends by its own signal', async () => {
  const error = await fails(sandbox.commands.run('kill -9 $$'), 'CommandExitError')
  assert.equal(error.exitCode, -1)
  assert.match(error.message, /signal: killed/)
})

test('the largest exit code', async () => assert.equal((await fails(sandbox.commands.run('exit 255'), 'CommandExitError')).exitCode, 255))

test('an exit seen through another connection', async () => {
  const handle = await sandbox.commands.run('until [ -e go3 ]; do sleep 0.02; done; exit 9', { background: true })
  const other = await sandbox.commands.connect(handle.pid)
  const first = failure(handle.wait()) // both hear of it
  await sandbox.files.write('go3', '')
  assert.equal((await fails(other.wait(), 'CommandExitError')).exitCode, 9)
  assert.equal((await first).exitCode, 9)
})

group('error: refused by the control API')

test('a lease beyond a day is refused, not shortened', () => fails(Sandbox.create({ timeoutMs: 25 * 3_600_000 }), 'SandboxError', /^400: Timeout cannot be greater than 24 hours/))

test('a template name that can be none', () => fails(Sandbox.create('no template!'), 'SandboxError', /^400/))

test('a snapshot, which this host does not make', () => fails(sandbox.createSnapshot(), 'SandboxError', /^501: snapshots/))

test('volumes and identity tokens, which this host does not have', async () => {
  const answer = await api('/v2/sandboxes', { method: 'POST', body: '{"templateID":"base","volumeMounts":[{"name":"v","path":"/v"}]}' })
  assert.equal(answer.status, 501)
  assert.match((await answer.json()).message, /volumeMounts is not supported/)
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

group('error: told by the proxy')

test('a dead sandbox answers 502 with its id', async () => {
  const gone = await create()
  await gone.kill()
  const dead = await fetch(process.env.E2B_SANDBOX_URL + '/health', { headers: { 'E2b-Sandbox-Id': gone.sandboxId, 'E2b-Sandbox-Port': '49983' } })
  assert.equal(dead.status, 502)
  assert.deepEqual(await dead.json(), { sandboxId: gone.sandboxId, message: 'The sandbox was not found', code: 502 })
})

test("the control plane's routes are nobody else's", async () => {
  const routed = { 'E2b-Sandbox-Id': sandbox.sandboxId, 'E2b-Sandbox-Port': '49983' }
  const reserved = await fetch(process.env.E2B_SANDBOX_URL + '/init', { method: 'POST', headers: routed })
  assert.equal(reserved.status, 404)
  assert.equal((await reserved.json()).path, '/init')
})

test('routing headers come in pairs', async () => {
  const answer = await fetch(process.env.E2B_SANDBOX_URL + '/health', { headers: { 'E2b-Sandbox-Id': 'i1' } })
  assert.equal(answer.status, 400)
  assert.equal(await answer.text(), 'missing header')
})

test('a sandbox that is killed while it is asked is gone for the one who asks', async () => {
  const dying = await create()
  const handle = await dying.commands.run('exec sleep 1000', { background: true, timeoutMs: 0 })
  const ended = failure(handle.wait())
  await dying.kill()
  assert.match((await ended).message, /terminated|sandbox/i)
  await until(async () => !(await dying.isRunning()), 'the end')
})

await run()
