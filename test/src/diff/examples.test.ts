import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'jsonc-parser'
import t from 'tap'
import { ConfigError } from '../../../src/config/fault.ts'
import { planOf } from '../../../src/config/load.ts'
import { objectSource } from '../../../src/config/source.ts'
import { StandIns } from '../../../src/config/stand-ins.ts'
import { type DiffedSide, diffPlans } from '../../../src/diff/diff-plans.ts'
import { catalog } from '../../../src/gateway/catalog.ts'
import { isObject } from '../../../src/lib/schema.ts'
import { SECRET } from '../../helpers.ts'

const top = fileURLToPath(new URL('../../..', import.meta.url))
const examples = readdirSync(join(top, 'examples'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('gateway.json') && !name.includes('node_modules'))
  .map((name) => join(top, 'examples', name))

async function side(file: string, config: unknown): Promise<DiffedSide> {
  const standIns = new StandIns()
  const folder = dirname(file)
  const plan = await planOf(objectSource(config, file, folder), catalog, { SESSION_SECRET: SECRET }, standIns)
  return { plan, folder, standIns }
}

/** Returns whether an "auth" protects: not one that is off or optional, or only says what upstreams see. */
const protects = (auth: unknown): boolean =>
  auth === true ||
  (isObject(auth) && auth['optional'] !== true && Object.keys(auth).some((name) => name !== 'passOn'))

/** Returns copies of a config, each without one "auth" that protects something. */
function* withoutOneAuth(config: unknown): Generator<unknown> {
  const copy = structuredClone(config)
  for (const place of placesIn(copy)) {
    const { auth } = place
    if (!protects(auth)) continue
    delete place['auth']
    yield structuredClone(copy)
    place['auth'] = auth
  }
}

function* placesIn(value: unknown): Generator<Record<string, unknown>> {
  if (!isObject(value)) return
  if (value['auth'] !== undefined) yield value as Record<string, unknown>
  if (Array.isArray(value['routes'])) for (const route of value['routes']) yield* placesIn(route)
}

t.test('removing any one "auth" of an example widens access, or breaks the config', async (t) => {
  let count = 0
  for (const file of examples) {
    const config: unknown = parse(readFileSync(file, 'utf8'))
    for (const without of withoutOneAuth(config)) {
      count++
      try {
        const findings = await diffPlans(await side(file, config), await side(file, without))
        t.ok(
          findings.some((finding) => finding.class === 'widened-access'),
          `${file}: ${JSON.stringify(findings.map(({ class: kind, option }) => [kind, option]))}`
        )
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error
        t.pass(`${file}: ${error.message}`)
      }
    }
  }
  t.ok(count >= 5, `finds ${count} of them`)
})

t.test('the pre-commit hook refuses a commit that widens access', async (t) => {
  const folder = t.testdir({})
  const bin = join(folder, 'node_modules', '.bin')
  mkdirSync(bin, { recursive: true })
  writeFileSync(
    join(bin, 'sallyport'),
    `#!/bin/sh\nexec "${process.execPath}" "${join(top, 'bin/sallyport.js')}" "$@"\n`
  )
  chmodSync(join(bin, 'sallyport'), 0o755)
  const env: Record<string, string> = {
    PATH: `${dirname(process.execPath)}:${process.env['PATH']}`,
    HOME: folder,
    GIT_CONFIG_NOSYSTEM: '1'
  }
  const git = (...args: string[]): string =>
    execFileSync('git', ['-c', 'user.name=ada', '-c', 'user.email=ada@example.com', ...args], {
      cwd: folder,
      encoding: 'utf8',
      stdio: 'pipe',
      env
    })
  const write = (roles: readonly string[]): void =>
    writeFileSync(
      join(folder, 'gateway.json'),
      JSON.stringify({
        auth: { apiKeys: { list: [{ id: 'a', key: `sha256:${'0'.repeat(64)}` }] }, require: { roles } },
        routes: [{ path: '/*', proxy: { upstream: 'http://127.0.0.1:4001' } }]
      })
    )
  git('init', '-q')
  writeFileSync(join(folder, '.gitignore'), 'node_modules\n')
  cpSync(join(top, 'examples/ci/pre-commit'), join(folder, '.git/hooks/pre-commit'))
  git('add', '.')
  git('commit', '-q', '-m', 'the first commit has nothing to compare')
  write(['admin', 'staff'])
  git('add', '.')
  git('commit', '-q', '-m', 'nor has that of a new config')
  write(['admin'])
  git('commit', '-q', '-a', '-m', 'narrower')
  write(['admin', 'guest'])
  t.throws(() => git('commit', '-q', '-a', '-m', 'wider'))
  t.equal(git('log', '--format=%s', '-1').trim(), 'narrower')
  env['GATEWAY_CONFIG'] = 'other.json'
  t.throws(() => git('commit', '-q', '--allow-empty', '-m', 'a name that no config has'), /no other\.json/)
})
