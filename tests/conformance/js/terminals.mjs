// Terminals.
import assert from 'node:assert/strict'
import { create, failure, group, run, test, until } from './harness.mjs'

const sandbox = await create()

async function terminal(options = {}) {
  let text = ''
  const decoder = new TextDecoder()
  const handle = await sandbox.pty.create({ cols: 80, rows: 24, onData: (bytes) => (text += decoder.decode(bytes, { stream: true })), timeoutMs: 0, ...options })
  const send = (line) => sandbox.pty.sendInput(handle.pid, new TextEncoder().encode(line))
  const shows = (part) => until(() => text.includes(part), `"${part}" in ${JSON.stringify(text)}`)
  return { handle, send, shows, text: () => text }
}

group('pty')

test('a terminal runs what is typed', async () => {
  const { handle, send, shows } = await terminal()
  await send('echo $((40+2))-answer\n')
  await shows('42-answer')
  await sandbox.pty.kill(handle.pid)
})

test('a terminal has the size it was given and the one it is changed to', async () => {
  const { handle, send, shows } = await terminal({ cols: 91, rows: 33 })
  await send('stty size\n')
  await shows('33 91')
  await sandbox.pty.resize(handle.pid, { cols: 120, rows: 40 })
  await send('stty size\n')
  await shows('40 120')
  await sandbox.pty.kill(handle.pid)
})

test('a terminal has a type, variables and a directory', async () => {
  const { handle, send, shows } = await terminal({ envs: { MINE: 'here' }, cwd: '/tmp' })
  await send('echo "<$TERM|$MINE|$PWD>"\n')
  await shows('<xterm-256color|here|/tmp>')
  await sandbox.pty.kill(handle.pid)
})

test('interrupting a program in a terminal leaves the shell', async () => {
  const { handle, send, shows } = await terminal()
  await send("sh -c 'echo u\"\"p; exec sleep 100'\n")
  await shows('up\r\n')
  await send('\x03')
  await shows('^C')
  await send('echo back-$((1+1))\n')
  await shows('back-2')
  await sandbox.pty.kill(handle.pid)
})

test('a shell that exits ends its terminal with its code', async () => {
  const { handle, send } = await terminal()
  await send('exit 5\n')
  const error = await failure(handle.wait())
  assert.equal(error.exitCode, 5)
})

test('killing a terminal works once', async () => {
  const { handle } = await terminal()
  assert.equal(await sandbox.pty.kill(handle.pid), true)
  await failure(handle.wait())
  assert.equal(await sandbox.pty.kill(handle.pid), false)
})

await run()
