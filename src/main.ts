import { parseArgs } from 'node:util'
import { config as dotenv } from 'dotenv'
import { CommandError, UsageError } from './commands/outcome.ts'
import { environmentVariableFor } from './config/option-locations.ts'
import { nearest } from './lib/schema.ts'

/** What a command is given. */
export interface Command {
  readonly summary: string
  readonly usage: string
  readonly options: NonNullable<Parameters<typeof parseArgs>[0]>['options']
  /** The most words that may stand beside the options. */
  readonly words: number
  run(args: {
    readonly values: Readonly<Record<string, unknown>>
    readonly words: readonly string[]
    readonly version: string
  }): Promise<number | undefined>
}

const commands: Readonly<Record<string, () => Promise<{ command: Command }>>> = {
  run: () => import('./commands/run.ts'),
  check: () => import('./commands/check.ts'),
  schema: () => import('./commands/schema.ts'),
  init: () => import('./commands/init.ts'),
  hash: () => import('./commands/hash.ts')
}

/** Runs a command line; the exit code is 0 for fine, 1 for a config or a start that failed, 2 for wrong usage, undefined for a process that goes on. */
export async function main(
  argv: readonly string[],
  version: () => string = () => 'development'
): Promise<number | undefined> {
  dotenv({ quiet: true })
  try {
    return await dispatch(argv, version)
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    process.stderr.write(`${error.message}\n`)
    return error.exitCode
  }
}

async function dispatch(
  [first, ...rest]: readonly string[],
  version: () => string
): Promise<number | undefined> {
  if (first === '-h' || first === '--help' || first === 'help') return help()
  if (first === '-v' || first === '--version') {
    process.stdout.write(`${version()}\n`)
    return 0
  }
  const named = first !== undefined && !first.startsWith('-')
  const name = named ? first : 'run'
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (load === undefined) {
    const near = nearest(name, Object.keys(commands))
    throw new UsageError(
      `There is no command "${name}"; ${near === undefined ? `the commands are ${Object.keys(commands).join(', ')}` : `did you mean "${near}"?`}`
    )
  }
  const { command } = await load()
  if (rest.some(isHelp)) return helpOf(command)
  const args = readArgs(command, named ? rest : first === undefined ? [] : [first, ...rest])
  return command.run({ ...args, version: version() })
}

function readArgs(
  command: Command,
  args: readonly string[]
): { values: Record<string, unknown>; words: string[] } {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: command.options ?? {},
      allowPositionals: true,
      strict: true
    })
    const extra = positionals[command.words]
    if (extra !== undefined) throw new Error(tooMany(extra, command))
    return { values: { ...values }, words: positionals }
  } catch (error) {
    const message = (error instanceof Error ? error.message : String(error)).split(/\. To specify|\n/, 1)[0]
    throw new UsageError(`${variableHint(args) ?? message}; usage: ${command.usage}`)
  }
}

const tooMany = (extra: string, { options }: Command): string =>
  options !== undefined && Object.hasOwn(options, 'config')
    ? `expected no file here, got "${extra}"; "-c ${extra}" names the config`
    : `expected nothing here, got "${extra}"`

/** Says which variable of the environment stands for an option that no command has, such as --port. */
function variableHint(args: readonly string[]): string | undefined {
  for (const arg of args) {
    const name = /^--?([a-z][\w-]*)/i.exec(arg)?.[1]
    const variable = name === undefined ? undefined : (SHORT[name] ?? environmentVariableFor(name))
    if (variable !== undefined)
      return `There is no option ${arg.split('=', 1)[0]}; set ${variable} in the environment`
  }
  return undefined
}

const SHORT: Readonly<Record<string, string>> = { p: 'PORT', host: 'HOST' }

const isHelp = (arg: string): boolean => arg === '-h' || arg === '--help'

function helpOf({ usage, summary }: Command): number {
  process.stdout.write(`usage: ${usage}\n\n${summary}\n`)
  return 0
}

async function help(): Promise<number> {
  const lines = ['Sallyport, an API gateway.', '', 'usage:']
  for (const load of Object.values(commands)) {
    const { command } = await load()
    lines.push(`  ${command.usage.padEnd(44)} ${command.summary}`)
  }
  process.stdout.write(`${lines.join('\n')}\n`)
  return 0
}
