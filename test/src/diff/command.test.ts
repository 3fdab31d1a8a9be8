// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of the config
import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { main } from '../../../src/main.ts'

// The command reads configs as files, folders and from git, and ends with the exit code of its docs.

const KEY = `sha256:${'0'.repeat(64)}`
const gateway = (roles: readonly string[]): object => ({
  auth: { apiKeys: { file: 'keys.json' }, require: { roles } },
  routes: [
    { path: '/orders/*', proxy: { upstream: '${ORDERS_URL}' } },
    { path: '/shop', include: 'teams/shop.json' }
  ]
})
const shop = (max: number): object => ({
  routes: [{ path: '/*', proxy: { upstream: 'http://127.0.0.1:4001' }, rateLimit: { max } }]
})
const blocked = (range: string): string => `${range}\n`

/** Makes a repository with a config in its first commit and another one in the working tree. */
function repository(t: Test): {
  folder: string
  write(file: string, content: string | object): void
  git(...args: string[]): string
} {
  const folder = t.testdir({})
  const git = (...args: string[]): string =>
    execFileSync('git', ['-c', 'user.name=ada', '-c', 'user.email=ada@example.com', ...args], {
      cwd: folder,
      stdio: 'pipe',
      encoding: 'utf8',
      env: { PATH: process.env['PATH'], GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' }
    })
  const write = (file: string, content: string | object): void => {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    writeFileSync(join(folder, file), typeof content === 'string' ? content : JSON.stringify(content))
  }
  git('init', '-q', '-b', 'main')
  write('.gitignore', 'keys.json\n')
  write('keys.json', [{ id: 'partner', key: KEY }])
  write('gateway.json', gateway(['admin']))
  write('teams/shop.json', { ...shop(10), ipAccess: { deny: ['file:blocked.txt'] } })
  write('teams/blocked.txt', blocked('203.0.113.0/24'))
  git('add', '.')
  git('commit', '-q', '-m', 'one')
  write('gateway.json', gateway(['admin', 'staff']))
  write('teams/shop.json', { ...shop(100), ipAccess: { deny: ['file:blocked.txt'] } })
  write('teams/blocked.txt', blocked('203.0.113.0/25'))
  return { folder, write, git }
}

/** Runs the command in this process, which takes a fraction of the time of one of its own. */
async function run(
  t: Test,
  args: readonly string[],
  folder: string
): Promise<{ status: number | undefined; stdout: string; stderr: string }> {
  const before = process.cwd()
  const stdout = t.capture(process.stdout, 'write', () => true)
  const stderr = t.capture(process.stderr, 'write', () => true)
  const textOf = (capture: typeof stdout): string =>
    capture
      .args()
      .map(([text]) => String(text))
      .join('')
  process.chdir(folder)
  try {
    const status = await main(['diff', ...args])
    return { status, stdout: textOf(stdout), stderr: textOf(stderr) }
  } finally {
    process.chdir(before)
    stdout.restore()
    stderr.restore()
  }
}

interface Printed {
  readonly version: number
  readonly changes: readonly {
    readonly class: string
    readonly option: string | null
    readonly place: string
  }[]
  readonly counts: Readonly<Record<string, number>>
  readonly failed: readonly string[]
}

const FOUND = [
  'loosened-limits rateLimit.max',
  'widened-access auth.require.roles',
  'widened-access ipAccess'
]

for (const [what, args] of [
  ['a revision and a file', ['HEAD:gateway.json', 'gateway.json']],
  ['a revision and a folder', ['HEAD:./gateway.json', '.']],
  ['a revision alone', ['main', 'gateway.json']],
  ['--base', ['--base', 'main']],
  ['--base with a config', ['--base', 'main', '-c', 'gateway.json']]
] as const)
  t.test(`compares ${what}, with included files and those that git ignores`, async (t) => {
    const { folder } = repository(t)
    const { status, stdout, stderr } = await run(t, [...args, '--format', 'json'], folder)
    t.equal(status, 0, stderr)
    const { version, changes, counts } = JSON.parse(stdout) as Printed
    t.equal(version, 1)
    t.strictSame(changes.map((each) => `${each.class} ${each.option}`).toSorted(), FOUND)
    t.match(counts, { 'widened-access': 2, 'loosened-limits': 1, moved: 0 })
  })

import { type Config, diff } from './diffs.ts'

t.test('takes the merge base for --base, else the revision, and says which', async (t) => {
  const { folder, write, git } = repository(t)
  git('commit', '-q', '-a', '-m', 'mine')
  const mine = git('rev-parse', 'HEAD').slice(0, 16)
  git('checkout', '-q', '-b', 'theirs', 'HEAD~1')
  const base = git('rev-parse', 'HEAD').slice(0, 16)
  write('gateway.json', { ...gateway(['admin']), publicUrl: 'https://theirs.example' })
  git('commit', '-q', '-a', '-m', 'theirs')
  git('checkout', '-q', 'main')
  const { stdout } = await run(t, ['--base', 'theirs', '--json'], folder)
  const { changes, ...told } = JSON.parse(stdout) as Printed
  t.strictSame(changes.map((each) => `${each.class} ${each.option}`).toSorted(), FOUND)
  t.match(told, { base: { revision: 'theirs', mergeBase: base } })
  t.match(
    (await run(t, ['--base', 'theirs'], folder)).stdout,
    `compared with ${base}, the merge base of theirs and HEAD\n`
  )
  t.match(
    (await run(t, ['--base', 'theirs', '--format', 'md'], folder)).stdout,
    `From ${base}, the merge base of theirs and HEAD,`
  )

  t.test('also of a revision that is compared', async (t) => {
    const other = await run(t, ['--base', 'main:gateway.json', 'theirs:gateway.json', '--json'], folder)
    t.match(JSON.parse(other.stdout), { base: { mergeBase: base }, changes: [{ option: 'publicUrl' }] })
  })

  t.test('and the revision where histories have nothing in common', async (t) => {
    git('checkout', '-q', '--orphan', 'alone')
    git('commit', '-q', '-m', 'alone')
    t.match(
      (await run(t, ['--base', 'theirs'], folder)).stdout,
      /compared with theirs itself, which has no merge base with HEAD\n[\s\S]*publicUrl/
    )
    t.match((await run(t, ['--base', mine], folder)).stdout, /Nothing changes/)
  })
})

t.test('compares the config of a folder in a hook, where git names its folder', async (t) => {
  const { folder, write, git } = repository(t)
  write('sub/gateway.json', { routes: [{ path: '/', respond: { status: 200 } }] })
  git('add', 'sub')
  git('commit', '-q', '-m', 'sub')
  t.intercept(process, 'env', { value: { ...process.env, GIT_DIR: join(folder, '.git') } })
  const { stdout, stderr } = await run(t, ['--base', 'HEAD'], join(folder, 'sub'))
  t.match(stdout, /Nothing changes/, stderr)
})

t.test('exits with 3 for classes that --fail-on names and that there are', async (t) => {
  const { folder } = repository(t)
  for (const [failOn, expected] of [
    ['widened-access', 3],
    ['moved,loosened-limits', 3],
    ['moved,removed', 0],
    ['widened', 2]
  ] as const) {
    const { status } = await run(t, ['--base', 'main', '--fail-on', failOn], folder)
    t.equal(status, expected, failOn)
  }
})

t.test('exits with 1 for broken configs and unknown revisions, with 2 for wrong usage', async (t) => {
  const { folder, write } = repository(t)
  write('broken.json', '{ "routes": 1 }')
  for (const [args, expected, message] of [
    [['gateway.json', 'broken.json'], 1, /broken\.json/],
    [['broken.json', 'gateway.json'], 1, /broken\.json/],
    [['nowhere.json', 'gateway.json'], 1, /no such file, folder or git revision/],
    [['v9:gateway.json', 'gateway.json'], 1, /no such file, folder or git revision/],
    [['HEAD:nowhere.json', 'gateway.json'], 1, /no file nowhere\.json in this revision/],
    [[], 2, /expected two configs/],
    [['gateway.json'], 2, /expected two configs/],
    [['--base', 'main', 'a.json', 'b.json'], 2, /alone beside --base/],
    [['gateway.json', 'gateway.json', '--format', 'xml'], 2, /--format text\|md\|json/],
    [['a.json', 'b.json', 'c.json'], 2, /usage/]
  ] as const) {
    const { status, stderr } = await run(t, [...args], folder)
    t.equal(status, expected, args.join(' '))
    t.match(stderr, message)
  }
})

t.test('prints text and Markdown with option, values, routes and place', async (t) => {
  const { folder } = repository(t)
  const text = (await run(t, ['--base', 'main'], folder)).stdout
  for (const part of [
    'widened-access\n',
    'auth.require.roles',
    '["admin"] → ["admin","staff"]',
    '/orders/* (GET /orders)',
    'gateway.json:1:'
  ])
    t.ok(text.includes(part), part)
  const markdown = (await run(t, ['--base', 'main', '--format', 'md'], folder)).stdout
  t.match(markdown, /^### widened-access$/m)
  t.match(markdown, /^\| auth\.require\.roles .* \| `\["admin"\] → \["admin","staff"\]` \|/m)

  t.test('and says so where nothing changes', async (t) => {
    const same = await run(t, ['gateway.json', '.'], folder)
    t.match(same, { status: 0, stdout: /Nothing changes for requests/ })
  })
})

t.test('compares folders, with files by their content', async (t) => {
  const { folder, write } = repository(t)
  for (const release of ['a', 'b']) {
    write(`${release}/keys.json`, [{ id: 'partner', key: KEY }])
    write(`${release}/gateway.json`, gateway(['admin']))
    write(`${release}/teams/shop.json`, shop(10))
  }
  const compare = async (): Promise<string> => (await run(t, ['a', 'b'], folder)).stdout
  t.match(await compare(), /Nothing changes/)
  write('b/keys.json', [
    { id: 'partner', key: KEY },
    { id: 'other', key: KEY.replace('0', '1'), roles: ['admin'] }
  ])
  t.match(await compare(), /auth\.apiKeys trusts others: .* other\n/)
  rmSync(join(folder, 'a'), { recursive: true })
})

t.test('leaves the repository as it is', async (t) => {
  const { folder } = repository(t)
  const git = (...args: string[]): string => execFileSync('git', args, { cwd: folder, encoding: 'utf8' })
  const before = git('status', '--porcelain')
  await run(t, ['--base', 'main'], folder)
  t.equal(git('status', '--porcelain'), before)
  t.equal(git('worktree', 'list').trim().split('\n').length, 1)
})

t.test('tells of a third-party gate that has changed as unknown, which fails with --strict', async (t) => {
  const { folder, write } = repository(t)
  const extension = (limit: number): string => `
    export const key = 'geo'
    export const options = { type: 'object', additionalProperties: false, properties: { mode: { type: 'string' }, country: { type: 'string' } } }
    export const override = options
    const plugin = async () => ${limit}
    export default Object.assign(plugin, { [Symbol.for('skip-override')]: true })`
  const config = (country: string): object => ({
    extensions: [{ module: './geo.mjs' }],
    routes: [{ path: '/*', geo: { country }, proxy: { upstream: 'http://127.0.0.1:4001' } }]
  })
  for (const [name, country, limit] of [
    ['a', 'DE', 1],
    ['b', 'FR', 1],
    ['c', 'DE', 2]
  ] as const) {
    write(`${name}/gateway.json`, config(country))
    write(`${name}/geo.mjs`, extension(limit))
  }
  for (const next of ['b', 'c']) {
    const { status, stdout } = await run(t, ['a', next, '--fail-on', 'widened-access'], folder)
    t.match({ status, stdout }, { status: 0, stdout: /^unknown\n {2}geo has changed/ }, next)
    const strict = await run(t, ['a', next, '--fail-on', 'widened-access', '--strict'], folder)
    t.equal(strict.status, 3)
  }
})

t.test('tells of an extension that runs at another place as unknown', async (t) => {
  const extension = (key: string): string => `
    export const key = '${key}'
    export const options = { type: 'object', additionalProperties: false, properties: {} }
    export const override = options
    const plugin = async () => {}
    export default Object.assign(plugin, { [Symbol.for('skip-override')]: true })`
  const folder = t.testdir({ 'geo.mjs': extension('geo'), 'tag.mjs': extension('tag') })
  const [geo, tag] = ['geo', 'tag'].map((name) => ({ module: `${folder}/${name}.mjs` }))
  const config = (...extensions: readonly object[]): Config => ({
    extensions,
    routes: [
      {
        path: '/a',
        geo: {},
        tag: {},
        rateLimit: { max: 1, window: '1m' },
        proxy: { upstream: 'http://127.0.0.1:4001' }
      },
      { path: '/b', tag: {}, proxy: { upstream: 'http://127.0.0.1:4001' } }
    ]
  })
  const after = { ...geo, after: 'rateLimit' }
  const before = { ...geo, before: 'rateLimit' }
  const other = ", and did the reverse; what an extension of yours changes by that can't be told"
  const found = async (...configs: readonly [Config, Config]): Promise<object[]> =>
    (await diff(...configs)).map(({ class: kind, option, message, routes }) => ({
      told: `${kind} ${option} ${message}`,
      routes: routes.map((each) => each.after)
    }))
  t.strictSame(await found(config(after, tag ?? {}), config(before, tag ?? {})), [
    { told: `unknown geo now runs before rateLimit${other}`, routes: ['/a'] }
  ])
  t.strictSame(await found(config(before, tag ?? {}), config(after, tag ?? {})), [
    { told: `unknown geo now runs after rateLimit${other}`, routes: ['/a'] }
  ])
  t.strictSame(await found(config(geo ?? {}, tag ?? {}), config(tag ?? {}, geo ?? {})), [
    { told: `unknown tag now runs before geo${other}`, routes: ['/a'] }
  ])
  t.strictSame(await found(config(before, tag ?? {}), config(before, tag ?? {})), [])
})
