import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { callerOf, methodOf, readFile } from '../../src/commands/explain-arguments.ts'
import { commands } from '../../src/commands/index.ts'
import { CommandError } from '../../src/commands/outcome.ts'
import { parseArguments } from '../../src/commands/parse.ts'
import { secretIn } from '../../src/commands/secret-line.ts'
import { ConfigError } from '../../src/config/fault.ts'
import { readTests } from '../../src/test-runner/read-file.ts'

const folder = t.testdir({
  folder: {},
  'gateway.json': '{ "routes": [] }',
  'keys.json': '[{"id":"a","key":"x"}]',
  'users.json': '[{"name":"ada","password":"x"}]',
  'bom.json': '\uFEFF{"id":"ada"}'
})
const at = (name: string): string => join(folder, name)

/** Runs a command as its command line does; returns its error. */
async function failing(name: string, args: readonly string[]): Promise<CommandError> {
  const load = commands[name]
  if (load === undefined) throw new Error(`There is no command ${name}`)
  const { command } = await load()
  try {
    await command.run({ ...parseArguments(command, args), version: '0.0.0' })
  } catch (error) {
    if (error instanceof CommandError) return error
    throw error
  }
  throw new Error(`${name} ${args.join(' ')} succeeded`)
}

t.test('wrong arguments and files end a command with a line that says what would work', async (t) => {
  const cases: [name: string, args: string[], code: number, message: RegExp][] = [
    [
      'init',
      [at('gateway.json')],
      1,
      /^expected a folder, got the file .*gateway\.json; nothing was written$/
    ],
    ['init', [at('keys.json/below')], 1, /^expected a folder, got the file .*; nothing was written$/],
    ['user', ['remove', 'ada'], 2, /^expected "add", got "remove"; usage: sallyport user add NAME/],
    ['user', ['add'], 2, /^usage: sallyport user add NAME/],
    ['user', ['add', ''], 2, /^expected a name without colons and control characters, got ""$/],
    ['user', ['add', 'a:b'], 2, /^expected a name without colons and control characters, got "a:b"$/],
    [
      'user',
      ['add', 'bob', '-f', at('keys.json')],
      1,
      /^expected users, each with a "name", in .*keys\.json/
    ],
    ['user', ['add', 'bob', '-f', at('folder')], 1, /^expected a file, got the folder .*folder$/],
    ['key', ['ad', 'x'], 2, /^expected "add", got "ad"; usage: sallyport key add ID/],
    ['key', ['add', ''], 2, /^expected an ID that names the caller, got ""$/],
    [
      'key',
      ['add', 'x', '-f', at('users.json')],
      1,
      /^expected API keys, each with an "id", in .*users\.json/
    ],
    ['key', ['add', 'x', '--expires', '2020-01-01'], 2, /^expected a day to come after --expires/],
    ['key', ['add', 'x', '-f', at('none/keys.json')], 1, /^There is no folder .*none; nothing was written$/],
    [
      'run',
      ['-c', 'a.json', 'explain', 'GET', '/'],
      2,
      /^expected the command first: sallyport explain …; usage/
    ],
    ['run', ['--strict', 'check'], 2, /\(the command comes first: sallyport check …\); usage/],
    ['explain', ['get', '/a'], 2, /^expected a method in capital letters, got "get"; "GET" would work$/],
    ['explain', ['GET', '/a', '--body', at('none')], 2, /^There is no file .*none$/],
    ['explain', ['GET', '/a', '--body', at('folder')], 2, /^expected a file, got the folder .*folder$/],
    ['explain', ['GET', '/a', '--as', at('folder')], 2, /^expected a file, got the folder .*folder$/]
  ]
  for (const [name, args, code, message] of cases) {
    const error = await failing(name, args)
    t.match(error.message, message, `${name} ${args.join(' ')}`)
    t.equal(error.exitCode, code, `${name} ${args.join(' ')}`)
  }
  t.equal(readFileSync(at('users.json'), 'utf8'), '[{"name":"ada","password":"x"}]')
  t.equal(readFileSync(at('keys.json'), 'utf8'), '[{"id":"a","key":"x"}]')
  t.notOk(existsSync(at('none')))
})

t.test('a secret is one line of UTF-8, without what editors and Windows add', (t) => {
  for (const text of ['p\u00e4ss', 'p\u00e4ss\n', 'p\u00e4ss\r\n', '\uFEFFp\u00e4ss\r\n'])
    t.equal(secretIn(Buffer.from(text), 'x'), 'p\u00e4ss')
  const wrong: [bytes: Buffer, message: RegExp][] = [
    [
      Buffer.from(''),
      /^expected a line on stdin, got none; printf %s "\$PASSWORD" \| sallyport user add ada$/
    ],
    [Buffer.from('\uFEFF\r\n'), /^expected a line on stdin, got none/],
    [Buffer.from('a\nb\n'), /^expected one line on stdin, got several/],
    [Buffer.from('\uFEFFpass', 'utf16le'), /^expected UTF-8 on stdin, got another encoding$/]
  ]
  for (const [bytes, message] of wrong) t.throws(() => secretIn(bytes, 'sallyport user add ada'), { message })
  t.end()
})

t.test('explain reads a caller from a file with a byte order mark, and methods in capitals', async (t) => {
  t.match(await callerOf(at('bom.json'), at('gateway.json')), { id: 'ada' })
  t.equal(methodOf('M-SEARCH'), 'M-SEARCH')
  t.equal(readFile(at('gateway.json')).toString(), '{ "routes": [] }')
})

t.test('a config in the place of a file of tests is said to be one', async (t) => {
  const error = await readTests(at('gateway.json')).catch((reason: unknown) => reason)
  t.ok(error instanceof ConfigError)
  t.match((error as ConfigError).faults, [
    { message: /^expected a file of tests, got a config; "-c .*gateway\.json" names the config$/ }
  ])
})
