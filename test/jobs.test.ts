import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { showFault } from '../src/config/fault.ts'
import { lint } from '../src/config/lint.ts'
import { loadConfig } from '../src/index.ts'
import { runScenario, stage } from './scenario.ts'

const jobs = fileURLToPath(new URL('../examples/jobs', import.meta.url))
const names = readdirSync(jobs, { withFileTypes: true }).filter((entry) => entry.isDirectory())

for (const { name } of names)
  t.test(name, async (t) => {
    const folder = join(jobs, name)
    const staged = await stage(t, folder)
    const { app, env } = staged
    const plan = await loadConfig(join(folder, 'gateway.json'), env)
    const { warnings } = lint(plan, app.routeInfos, {
      workers: 1,
      pairs: app.ambiguousPairs(),
      descriptors: undefined
    })
    t.strictSame(warnings.map(showFault), [], '"check --strict" has no warning')
    await runScenario(t, staged)
  })
