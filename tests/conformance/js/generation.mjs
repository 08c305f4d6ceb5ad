// One create, whatever the answer: the caller sees which generation of paths this SDK uses.
import { Sandbox } from 'e2b'

await Sandbox.create().catch(() => {})
