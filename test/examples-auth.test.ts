import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'jsonc-parser'
import t, { type Test } from 'tap'
import { ConfigError } from '../src/config/fault.ts'
import { isObject } from '../src/lib/schema.ts'
import { Coverage } from '../src/test-runner/coverage.ts'
import { prepareTests, runTests } from '../src/test-runner/run-file.ts'

// A gateway boots for each test of each variant.
t.setTimeout(600_000)

const examples = fileURLToPath(new URL('../examples', import.meta.url))
const files = readdirSync(examples, { recursive: true, encoding: 'utf8' }).filter(
  (name) => name.endsWith('.json') && !name.includes('node_modules') && !name.endsWith('.test.json')
)

/** The "auth" without which nobody gets in who did not before, and why. No test of a caller can fail there. */
const UNTESTED: Readonly<Record<string, string>> = {
  'jobs/admin/gateway.json routes[1].auth': 'is false where nothing around it asks for a caller',
  'jobs/spa/gateway.json routes[1].auth':
    'only has "passOn", and callers of tests have no token of a provider'
}

interface Place {
  readonly name: string
  readonly holder: Record<string, unknown>
}

/** Finds each part of a config that has an "auth". */
function* authsIn(value: unknown, path = ''): Generator<Place> {
  if (!isObject(value)) return
  const holder = value as Record<string, unknown>
  if (holder['auth'] !== undefined) yield { name: `${path}auth`, holder }
  if (Array.isArray(holder['routes']))
    for (const [i, route] of holder['routes'].entries()) yield* authsIn(route, `${path}routes[${i}].`)
}

/** Returns the nearest folder around a file of the examples that has tests. */
function folderOf(file: string): string {
  const folder = dirname(file)
  if (folder === '.') throw new Error('No folder around this config has a gateway.test.json')
  return existsSync(join(examples, folder, 'gateway.test.json')) ? folder : folderOf(folder)
}

/** Runs the tests in a folder; returns the names of those that failed, or the errors of the config. */
async function failed(folder: string): Promise<string[]> {
  try {
    const prepared = await prepareTests(join(folder, 'gateway.test.json'), undefined, () => ({}))
    const names: string[] = []
    for await (const { name, failures } of runTests(prepared, new Coverage(prepared.plan)))
      if (failures.length > 0) names.push(`${name}: ${failures[0]?.message}`)
    return names
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.faults.map(({ message }) => message)
  }
}

/** Copies an example, with another text for one of its configs. */
function copied(t: Test, file: string, config: unknown): string {
  const folder = folderOf(file)
  const copy = t.testdir({})
  cpSync(join(examples, folder), copy, { recursive: true })
  writeFileSync(join(copy, file.slice(folder.length + 1)), JSON.stringify(config))
  return copy
}

const seen = new Set<string>()
for (const file of files) {
  const config: unknown = parse(readFileSync(join(examples, file), 'utf8'))
  const places = [...authsIn(config)]
  if (places.length === 0) continue
  t.test(file, async (t) => {
    t.strictSame(await failed(copied(t, file, config)), [], 'all tests pass')
    for (const { name, holder } of places) {
      const place = `${file} ${name}`
      seen.add(place)
      const reason = UNTESTED[place]
      await t.test(
        `without ${name}, ${reason === undefined ? 'a test fails' : `which ${reason}`}`,
        async (t) => {
          const { auth } = holder
          delete holder['auth']
          const names = await failed(copied(t, file, config))
          holder['auth'] = auth
          if (reason === undefined) t.not(names.length, 0)
          else t.strictSame(names, [])
          t.comment(names.join('\n'))
        }
      )
    }
  })
}

t.test('no exception names an "auth" that is not there', async (t) => {
  t.strictSame(
    Object.keys(UNTESTED).filter((place) => !seen.has(place)),
    []
  )
  t.ok(seen.size > Object.keys(UNTESTED).length, `${seen.size} of them are tried`)
})
