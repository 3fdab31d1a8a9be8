import { cpSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { sallyport } from './helpers.ts'
import { npmTest, withSallyport } from './plugin-packages.ts'

// Their tests start gateways and worker processes.
t.setTimeout(600_000)

const EXAMPLES = fileURLToPath(new URL('../examples', import.meta.url))
const packages = readdirSync(EXAMPLES).filter((name) => name.startsWith('plugin-'))

t.test('the packages of the examples work as they are published', async (t) => {
  t.not(packages.length, 0)
  for (const name of packages)
    t.test(name, async (t) => {
      const folder = join(withSallyport(t), name)
      cpSync(join(EXAMPLES, name), folder, { recursive: true })
      t.match(await npmTest(folder), { code: 0, stdout: /ok \d+ - it works in two worker processes/ })
      const env = { WEBHOOK_SECRET: 'a secret of the tests' }
      t.match(await sallyport(['check', '--strict'], { cwd: folder, env }), { code: 0, stderr: '' })
    })
})
