// Runs the npm package http-cache-tests through the gateway. `node bench/cache-tests.ts FOLDER`, where FOLDER has the package.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'

const SERVER_PORT = 8000
const GATEWAY_PORT = 8001

const suiteFolder = resolve(process.argv[2] ?? '.')
const folder = mkdtempSync(join(tmpdir(), 'sallyport-cache-tests-'))

/** A test of the package. */
interface CacheTest {
  readonly id: string
  readonly kind?: string
  readonly depends_on?: readonly string[]
  readonly browser_only?: boolean
  readonly cdn_only?: boolean
}

/** What the package says of a test: true, or why not. */
type Results = Readonly<Record<string, true | readonly [string, string]>>

async function main(): Promise<void> {
  const config = {
    accessLog: false,
    routes: [
      {
        path: '/*',
        cache: { requestDirectives: true },
        proxy: { upstream: `http://127.0.0.1:${SERVER_PORT}` }
      }
    ]
  }
  const file = join(folder, 'gateway.json')
  writeFileSync(file, JSON.stringify(config))
  const gateway = fileURLToPath(new URL('../bin/sallyport.js', import.meta.url))
  const children = [
    run(suiteFolder, ['server/server.mjs'], { npm_config_pidfile: join(folder, 'pid') }),
    run(folder, [gateway, 'run', '-c', file], {
      PORT: String(GATEWAY_PORT),
      ADMIN_PORT: '',
      LOG_LEVEL: 'error'
    })
  ]
  try {
    await Promise.all([SERVER_PORT, GATEWAY_PORT].map(open))
    const client = run(suiteFolder, ['cli.mjs'], { npm_config_base: `http://127.0.0.1:${GATEWAY_PORT}` })
    report(await allTests(), JSON.parse(await text(client.stdout as never)) as Results)
  } finally {
    for (const child of children) child.kill()
    rmSync(folder, { recursive: true })
  }
}

function run(cwd: string, args: readonly string[], env: Record<string, string>): ChildProcess {
  const own = {
    npm_config_port: String(SERVER_PORT),
    npm_config_protocol: 'http',
    npm_config_id: '',
    npm_package_config_id: ''
  }
  return spawn(process.execPath, args, {
    cwd,
    env: { ...process.env, ...own, ...env },
    stdio: ['ignore', 'pipe', 'inherit']
  })
}

/** Waits until a port accepts connections. */
async function open(port: number): Promise<void> {
  const isOpen = await new Promise<boolean>((done) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      done(true)
    })
    socket.on('error', () => done(false))
  })
  if (isOpen) return
  await wait(100)
  await open(port)
}

async function allTests(): Promise<CacheTest[]> {
  const module = await import(pathToFileURL(join(suiteFolder, 'tests/index.mjs')).href)
  return (module.default as { tests: CacheTest[] }[]).flatMap(({ tests }) => tests)
}

/** Prints what passed of each kind, as the site of the package counts it: a test counts if those that it depends on pass and its setup works. */
function report(tests: readonly CacheTest[], results: Results): void {
  const byId = new Map(tests.map((test) => [test.id, test]))
  const outcome = (id: string): 'pass' | 'fail' | 'not applicable' => {
    const result = results[id]
    const needs = byId.get(id)?.depends_on ?? []
    if (needs.some((each) => outcome(each) !== 'pass')) return 'not applicable'
    if (result === true) return 'pass'
    return result === undefined || result[0] === 'Setup' || result[0] === 'AbortError'
      ? 'not applicable'
      : 'fail'
  }
  const counted = tests.filter((test) => test.browser_only !== true && test.cdn_only !== true)
  for (const [kind, group] of Object.entries(Object.groupBy(counted, ({ kind = 'required' }) => kind))) {
    const of = (wanted: string): string[] =>
      (group ?? []).map(({ id }) => id).filter((id) => outcome(id) === wanted)
    const [passed, failed] = [of('pass'), of('fail')]
    process.stdout.write(`${kind}: ${passed.length} of ${passed.length + failed.length}\n`)
    if (kind === 'required')
      for (const id of failed)
        process.stdout.write(`  ${id}: ${String(results[id]).split(',').slice(1).join(',')}\n`)
  }
}

await main()
