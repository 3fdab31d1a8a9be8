// npm run bench:boot: what the boot of a large config costs in time and memory, and how long a reload stops the event
// loop at a time. It wants Linux.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { pino } from 'pino'
import { loadPlan } from '../src/config/load.ts'
import { buildGateway } from '../src/gateway/build.ts'
import { catalog } from '../src/gateway/catalog.ts'
import { Resources } from '../src/gateway/resources.ts'
import { NODE_FLAGS } from '../src/process/node-flags.ts'
import { onCore } from './processes.ts'

const { values: flags } = parseArgs({
  options: {
    /** The routes of the config. */
    routes: { type: 'string', default: '10000' },
    /** How often it is booted; the least of each figure counts. */
    rounds: { type: 'string', default: '3' },
    /** The config file that this process boots: what the others are told. */
    boot: { type: 'string', default: '' }
  }
})

/** One boot: milliseconds of CPU, which other work on the machine disturbs least, and MB. */
interface Boot {
  readonly load: number
  readonly build: number
  readonly heap: number
  readonly rss: number
  /** The longest pause of the event loop in a reload of the same config while there are other events; the median of some reloads. */
  readonly pause: number
}

const MB = 1024 * 1024
const RELOADS = 7

const cpu = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

async function boot(file: string): Promise<Boot> {
  const resources = new Resources()
  const log = pino({ level: 'silent' })
  const began = cpu()
  const plan = await loadPlan(file, catalog, {})
  const loaded = cpu()
  let app = await buildGateway(plan, resources, log, { isAlone: true })
  const built = cpu()
  globalThis.gc?.()
  const { heapUsed, rss } = process.memoryUsage()
  const pauses: number[] = []
  for (let i = 0; i < RELOADS; i++) {
    let last = cpu()
    let longest = 0
    const clock = setInterval(() => {
      const now = cpu()
      longest = Math.max(longest, now - last)
      last = now
    }, 1)
    const next = await buildGateway(await loadPlan(file, catalog, {}), resources, log, { isAlone: true })
    clearInterval(clock)
    pauses.push(longest)
    await app.close()
    app = next
  }
  await app.close()
  const pause = pauses.toSorted((a, b) => a - b)[Math.floor(RELOADS / 2)] ?? 0
  return { load: loaded - began, build: built - loaded, heap: heapUsed / MB, rss: rss / MB, pause }
}

function config(count: number): object {
  const proxy = { upstream: 'http://127.0.0.1:19600', rewrite: '/' }
  return {
    rateLimit: { max: 1_000_000_000, window: '1h' },
    cors: { origins: ['https://app.example.com'], credentials: true },
    responseTime: true,
    routes: Array.from({ length: count }, (_, i) => ({ path: `/r${i}/*`, proxy }))
  }
}

if (flags.boot !== '') {
  console.log(JSON.stringify(await boot(flags.boot)))
} else {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-boot-'))
  const file = join(folder, 'gateway.json')
  writeFileSync(file, JSON.stringify(config(Number(flags.routes)), undefined, 2))
  try {
    const boots = Array.from({ length: Number(flags.rounds) }, () => {
      const self = fileURLToPath(import.meta.url)
      const args = [...NODE_FLAGS, '--expose-gc', self, '--boot', file]
      return JSON.parse(execFileSync(...onCore(0, process.execPath, args)).toString()) as Boot
    })
    const least = (of: keyof Boot): string =>
      Math.min(...boots.map((each) => each[of])).toFixed(of === 'pause' ? 1 : 0)
    console.log(
      `${flags.routes} routes: load ${least('load')} ms, build ${least('build')} ms; heap ${least('heap')} MB, RSS ${least('rss')} MB; longest pause of a reload ${least('pause')} ms`
    )
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
