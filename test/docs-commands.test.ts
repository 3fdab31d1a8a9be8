import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { commands } from '../src/commands/index.ts'
import { parseArguments } from '../src/commands/parse.ts'
import { catalog } from '../src/gateway/catalog.ts'
import { variables } from '../src/process/settings.ts'
import { gateway, SECRET, sallyport, upstream } from './helpers.ts'

// The commands of the documentation are those that there are, and print what it says.

const top = fileURLToPath(new URL('..', import.meta.url))
const read = (file: string): string => readFileSync(join(top, file), 'utf8')
const pages = [
  'README.md',
  'CONTRIBUTING.md',
  ...['docs', 'deploy', 'examples', 'bench', 'src', 'plugins', 'routes', 'test'].flatMap((folder) =>
    readdirSync(join(top, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.md') && !name.includes('node_modules'))
      .map((name) => join(folder, name))
  )
]

/** Returns the blocks of code of a page in one of some languages. */
const blocksOf = (page: string, languages: RegExp): { language: string; text: string; at: number }[] =>
  [...read(page).matchAll(/^ *```(\w+)\n(.*?)^ *```/gms)]
    .filter(([, language = '']) => languages.test(language))
    .map(({ 1: language = '', 2: text = '', index }) => ({ language, text, at: index }))

/** Returns the lines of a page that a person types into a shell. */
const typed = (page: string): string[] =>
  blocksOf(page, /^(?:sh|bash|console)$/).flatMap(({ language, text }) =>
    text
      .replaceAll(/\\\n\s*/g, ' ')
      .split('\n')
      .filter((line) => language !== 'console' || line.startsWith('$ '))
      .map((line) =>
        line
          .replace(/^\$ /, '')
          .replace(/(^|\s)#.*$/, '')
          .trim()
      )
      .filter(Boolean)
  )

/** Splits a line into its commands, each into its words. */
const commandsOf = (line: string): string[][] =>
  line
    .split(/\|\||&&|[|;()]|\s>>?\s\S+/)
    .map((command) =>
      [...command.matchAll(/(?:[^\s"']|"[^"]*"|'[^']*')+/g)].map(([word]) => word.replaceAll(/["']/g, ''))
    )
    .filter(([first]) => first !== undefined)

/** Returns the arguments of our own program in a command, and the variables in front of it; undefined for other programs. */
function ownCommand(words: readonly string[]): { args: string[]; variables: string[] } | undefined {
  const isSet = (word: string): boolean => /^[A-Z_]+=/.test(word)
  const set = words.slice(
    0,
    words.findIndex((word) => !isSet(word))
  )
  const [first, second, ...rest] = words.slice(set.length)
  const names = set.map((word) => word.replace(/=.*/, ''))
  if (first === 'sallyport')
    return { args: [second, ...rest].filter((word) => word !== undefined), variables: names }
  if ((first === 'npx' && second === 'sallyport') || (first === 'node' && second === 'bin/sallyport.js'))
    return { args: rest, variables: names }
  const image = words.indexOf('sallyport')
  return first === 'docker' && second === 'run' && image !== -1
    ? { args: words.slice(image + 1), variables: names }
    : undefined
}

async function usageError(args: readonly string[]): Promise<string | undefined> {
  const [first = 'run', ...rest] = args
  if (/^(?:-h|--help|-v|--version|help)$/.test(first)) return undefined
  const isNamed = !first.startsWith('-')
  const load = commands[isNamed ? first : 'run']
  if (load === undefined) return `there is no command "${first}"`
  const given = (isNamed ? rest : args).filter((arg) => arg !== '--help')
  try {
    parseArguments((await load()).command, given)
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

t.test('every command of the documentation has the options that it is shown with', async (t) => {
  const known = new Set([
    ...variables.map(({ name }) => name),
    ...catalog.concerns.flatMap((concern) =>
      'variables' in concern ? Object.values(concern.variables as Record<string, string>) : []
    )
  ])
  let count = 0
  for (const page of pages) {
    const lines = typed(page)
    for (const line of lines)
      for (const words of commandsOf(line)) {
        const own = ownCommand(words)
        if (own === undefined) continue
        count += 1
        t.equal(await usageError(own.args), undefined, `${page}: ${line}`)
        for (const name of own.variables) t.ok(known.has(name), `${page}: ${line}: the variable ${name}`)
      }
    // In a sentence, "[…]" is optional, and of "a|b" either.
    for (const [, text = ''] of read(page).matchAll(/`(?:npx )?sallyport( [^`\n]+)?`/g)) {
      const args = text
        .replaceAll(/[[\]]|\\?\|\S+|>.*/g, '')
        .split(' ')
        .filter(Boolean)
      if (args.some((arg) => arg.includes('…'))) continue
      count += 1
      t.equal(await usageError(args), undefined, `${page}: sallyport${text}`)
    }
  }
  t.ok(count > 50)
})

t.test('every script of the documentation is in package.json', async (t) => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  for (const page of pages)
    for (const line of typed(page))
      for (const [first, second = '', third = ''] of commandsOf(line)) {
        if (first !== 'npm' || !/^(?:run|test|start)$/.test(second)) continue
        const name = second === 'run' ? (third === '-s' ? '' : third) : second
        if (name !== '') t.ok(Object.hasOwn(scripts, name), `${page}: ${line}`)
      }
})

/** Configs for pages that show a command without the config that it is about. */
const CONFIGS: Readonly<Record<string, string>> = {
  'README.md': `{
  "upstreams": { "orders": { "url": "http://localhost:4003" } },

  // Limits.
  "rateLimt": { "max": 100, "window": "1m" },

  // Routes.
  "routes": [
    { "path": "/orders/*", "proxy": { "upstream": "ordes" } }
  ]
}`,
  'docs/commands.md': `{
  "upstreams": { "catalog": { "url": "http://localhost:4001" }, "legacy": { "url": "http://localhost:4002" } },
  "routes": [
    { "path": "/catalog/*", "methods": ["GET"], "cors": { "origins": ["*"] }, "rateLimit": { "max": 100 }, "auth": false, "proxy": { "upstream": "catalog" } },
    { "path": "/legacy/*", "auth": { "apiKeys": { "list": [{ "id": "ada", "secret": "\${PARTNER_KEY}" }] } }, "proxy": { "upstream": "legacy" } }
  ]
}`
}

/** Returns the last config of a page before a place in it. */
const configBefore = (page: string, at: number): string | undefined =>
  CONFIGS[page] ??
  blocksOf(page, /^jsonc?$/)
    .filter((block) => block.at < at && block.text.startsWith('{') && block.text.includes('"routes"'))
    .at(-1)?.text

/** Compares an output with the documentation, where "…" stands for the rest, and a machine has its own limits. */
function sameOutput(t: Test, output: string, shown: string): void {
  const [expected = '', rest] = shown.split(/^\s*…\n/m)
  const plain = (text: string): string => text.replaceAll(/\b\d+ file descriptors/g, 'N file descriptors')
  const wanted = plain(expected).trimEnd().split('\n')
  const isShown = (line: string): boolean => !line.startsWith('note: ') || wanted.includes(line)
  const got = plain(output).trimEnd().split('\n').filter(isShown)
  t.strictSame(rest === undefined ? got : got.slice(0, wanted.length), wanted)
}

t.test('check and openapi print what the documentation shows', async (t) => {
  for (const page of pages)
    for (const { text, at } of blocksOf(page, /^console$/)) {
      const [, args, shown] = /^\$ (?:npx )?sallyport ((?:check|openapi)[^\n]*)\n(.+)/s.exec(text) ?? []
      if (args === undefined || shown === undefined) continue
      t.test(`${page}: sallyport ${args}`, async (t) => {
        const config = configBefore(page, at) ?? ''
        const cwd = t.testdir({ 'gateway.json': config, 'users.json': '[]' })
        const { stdout, stderr } = await sallyport(args.trim().split(' '), {
          cwd,
          env: { PARTNER_KEY: 'a key of a partner', SESSION_SECRET: SECRET }
        })
        sameOutput(t, stdout + stderr, shown)
      })
    }
})

t.test('the first gateway works as it is written', async (t) => {
  const page = 'docs/getting-started.md'
  const configs = blocksOf(page, /^json$/).map(({ text }) => text)
  const answers = blocksOf(page, /^console$/)
    .map(({ text }) => /^\$ curl http:\/\/localhost:3000(\S+)\n(.+)/s.exec(text))
    .flatMap((found) => (found === null ? [] : [{ url: found[1] ?? '', body: found[2] ?? '' }]))
  // Like sallyport echo.
  const origin = await upstream(t, ({ method, url, headers }, response) => {
    response.end(JSON.stringify({ method, url, headers }, null, 2))
  })
  const [service = '', login = ''] = configs.map((text) => text.replaceAll('http://localhost:4001', origin))

  const cwd = t.testdir()
  t.equal((await sallyport(['init'], { cwd })).code, 0)
  const first = await gateway(t, join(cwd, 'gateway.json'))
  t.equal((await first.inject(answers[0]?.url ?? '')).body, answers[0]?.body)

  const second = await gateway(t, join(t.testdir({ 'gateway.json': service }), 'gateway.json'))
  const [shown = 'nothing'] = answers[1]?.body.split(/^\s*…/m) ?? []
  t.equal((await second.inject(answers[1]?.url ?? '')).body.slice(0, shown.length), shown)

  const { stdout: hash } = await sallyport(['hash'], { input: 'lovelace' })
  const users = JSON.stringify([{ name: 'ada', password: hash.trim(), roles: ['staff'] }])
  const folder = t.testdir({ 'gateway.json': login, 'users.json': users })
  const third = await gateway(t, join(folder, 'gateway.json'))
  t.equal((await third.inject('/api/items')).statusCode, 401)
  const answer = await third.inject({
    method: 'POST',
    url: '/login',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    payload: 'username=ada&password=lovelace'
  })
  t.match(answer.body, 'Successfully authenticated')
  const cookies = Object.fromEntries(answer.cookies.map(({ name, value }) => [name, value]))
  t.match((await third.inject({ url: '/api/items', cookies })).body, '"url": "/items"')
})
