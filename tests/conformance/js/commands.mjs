// Commands in the foreground and in the background, their input, and how they end.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { create, failure, group, run, test, until } from './harness.mjs'

const sandbox = await create()

group('commands')

test('a command gives its output, its errors and its exit code', async () => {
  const result = await sandbox.commands.run('echo out; echo err >&2')
  assert.equal(result.exitCode, 0)
  assert.equal(result.stdout, 'out\n')
  assert.equal(result.stderr, 'err\n')
})

test('a command that fails throws with its code and what it printed', async () => {
  const error = await failure(sandbox.commands.run('echo before; echo why >&2; exit 7'))
  assert.equal(error.name, 'CommandExitError')
  assert.equal(error.exitCode, 7)
  assert.equal(error.stdout, 'before\n')
  assert.equal(error.stderr, 'why\n')
})

test('a command has the directory and the variables it was given, and those win', async () => {
  const result = await sandbox.commands.run('pwd; echo "$HOME|$FOO|$E2B_SANDBOX"', { cwd: '/tmp', envs: { FOO: "b a'r", E2B_SANDBOX: 'mine' } })
  assert.equal(result.stdout, "/tmp\n/home/user|b a'r|mine\n")
})

test('a work directory that does not exist is an argument error', async () => {
  const error = await failure(sandbox.commands.run('true', { cwd: '/no/such/place' }))
  assert.equal(error.name, 'InvalidArgumentError')
  assert.match(error.message, /cwd '\/no\/such\/place' does not exist/)
})

test('output arrives while the command runs, and umlauts survive any cut', async () => {
  const pieces = []
  const text = 'äöü€😀'.repeat(20_000)
  await sandbox.files.write('/home/user/umlauts', text)
  let early = false
  const result = await sandbox.commands.run('echo first; read -t 0.3 < <(sleep 1); cat umlauts', {
    onStdout: (piece) => {
      if (pieces.length === 0) early = piece === 'first\n'
      pieces.push(piece)
    },
  })
  assert.equal(early, true)
  assert.equal(pieces.join(''), 'first\n' + text)
  assert.equal(result.stdout, 'first\n' + text)
})

test('ten megabytes of output come whole', async () => {
  const result = await sandbox.commands.run('head -c 10000000 /dev/zero | tr "\\0" x | tee >(sha256sum >sum) | cat')
  assert.equal(result.stdout.length, 10_000_000)
})

test('a command that takes too long is ended with a timeout error', async () => {
  const before = Date.now()
  const error = await failure(sandbox.commands.run('echo $$ >slow.pid; exec sleep 100', { timeoutMs: 500 }))
  assert.equal(error.name, 'TimeoutError')
  assert.ok(Date.now() - before < 5_000)
  const pid = (await sandbox.files.read('slow.pid')).trim()
  await until(async () => (await sandbox.commands.run(`kill -0 ${pid} 2>/dev/null && echo there || echo gone`)).stdout === 'gone\n', 'the process is ended too')
})

group('background')

test('a background command gives its pid at once and its result later', async () => {
  // It ends when told to, and nobody is told before the call has come back.
  const handle = await sandbox.commands.run('until [ -e go1 ]; do sleep 0.05; done; echo done', { background: true })
  assert.ok(handle.pid > 1)
  await sandbox.files.write('go1', '')
  const result = await handle.wait()
  assert.equal(result.stdout, 'done\n')
})

test('a background command without a limit outlives its connection and can be found again', async () => {
  const line = 'until [ -e go2 ]; do sleep 0.05; done; echo later'
  const handle = await sandbox.commands.run(line, { background: true, timeoutMs: 0 })
  await handle.disconnect()
  const listed = (await sandbox.commands.list()).find((p) => p.pid === handle.pid)
  assert.deepEqual(listed.args, ['-l', '-c', line])
  const again = await sandbox.commands.connect(handle.pid)
  await sandbox.files.write('go2', '')
  assert.equal((await again.wait()).stdout, 'later\n')
})

test('a connection after the end still learns the exit code', async () => {
  const handle = await sandbox.commands.run('exit 4', { background: true })
  await failure(handle.wait())
  const again = await sandbox.commands.connect(handle.pid)
  const error = await failure(again.wait())
  assert.equal(error.exitCode, 4)
})

group('input')

test('input reaches a command until it is closed', async () => {
  const handle = await sandbox.commands.run('read line; echo "got $line"; cat; echo end', { background: true, stdin: true })
  await sandbox.commands.sendStdin(handle.pid, 'hello\n')
  await sandbox.commands.sendStdin(handle.pid, 'rest')
  await sandbox.commands.closeStdin(handle.pid)
  assert.equal((await handle.wait()).stdout, 'got hello\nrestend\n')
})

test('without stdin a command reads the end of its input at once', async () => {
  assert.equal((await sandbox.commands.run('cat; echo over')).stdout, 'over\n')
})

test('input for a process that is not there is not found', async () => {
  const error = await failure(sandbox.commands.sendStdin(99999999, 'x'))
  assert.equal(error.name, 'NotFoundError')
})

test('much input arrives whole and in order', async () => {
  const handle = await sandbox.commands.run('exec sha256sum', { background: true, stdin: true })
  const lines = Array.from({ length: 20_000 }, (_, i) => `${i}\n`).join('')
  await sandbox.commands.sendStdin(handle.pid, lines.slice(0, 50_000))
  await sandbox.commands.sendStdin(handle.pid, lines.slice(50_000))
  await sandbox.commands.closeStdin(handle.pid)
  assert.equal((await handle.wait()).stdout, `${createHash('sha256').update(lines).digest('hex')}  -\n`)
})

group('background')

test('kill ends a command once, and says when there is none', async () => {
  const handle = await sandbox.commands.run('exec sleep 100', { background: true })
  assert.equal(await sandbox.commands.kill(handle.pid), true)
  const error = await failure(handle.wait())
  assert.equal(error.exitCode, -1)
  assert.equal(await sandbox.commands.kill(handle.pid), false)
})

group('commands')

test('twenty commands at once keep their outputs apart', async () => {
  const results = await Promise.all(Array.from({ length: 20 }, (_, i) => sandbox.commands.run(`echo ${i}; sleep 0.1; echo ${i}`)))
  results.forEach((r, i) => assert.equal(r.stdout, `${i}\n${i}\n`))
})

await run()
