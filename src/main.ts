import { parseArgs } from 'node:util'
import type { Command } from './commands/command.ts'
import { CommandError, UsageError } from './commands/outcome.ts'
import { environmentVariableFor } from './config/option-locations.ts'
import { nearest } from './lib/schema.ts'

const commands: Readonly<Record<string, () => Promise<{ command: Command }>>> = {
  run: () => import('./commands/run.ts'),
  check: () => import('./commands/check.ts'),
  schema: () => import('./commands/schema.ts'),
  openapi: () => import('./commands/openapi.ts'),
  init: () => import('./commands/init.ts'),
  hash: () => import('./commands/hash.ts'),
  user: () => import('./commands/user.ts'),
  key: () => import('./commands/key.ts'),
  echo: () => import('./commands/echo.ts')
}

/** Runs a command line and returns its exit code: 0 for success, 1 for a config or a start that failed, 2 for wrong usage, undefined for a process that keeps running. */
export async function main(
  argv: readonly string[],
  version: () => string = () => 'development'
): Promise<number | undefined> {
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
  if (first === '-h' || first === '--help' || first === 'help') return printHelp()
  if (first === '-v' || first === '--version') {
    process.stdout.write(`${version()}\n`)
    return 0
  }
  const isNamed = first !== undefined && !first.startsWith('-')
  const name = isNamed ? first : 'run'
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (load === undefined) {
    const near = nearest(name, Object.keys(commands))
    throw new UsageError(
      `There is no command "${name}"; ${near === undefined ? `the commands are ${Object.keys(commands).join(', ')}` : `did you mean "${near}"?`}`
    )
  }
  const { command } = await load()
  if (rest.some(isHelpOption)) return printCommandHelp(command)
  const args = parseArguments(command, isNamed ? rest : first === undefined ? [] : [first, ...rest])
  return command.run({ ...args, version: version() })
}

function parseArguments(
  command: Command,
  args: readonly string[]
): { values: Record<string, unknown>; positionals: string[] } {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: command.options,
      allowPositionals: true,
      strict: true
    })
    const extra = positionals[command.maxPositionals]
    if (extra !== undefined) throw new Error(unexpectedArgument(extra, command))
    return { values: { ...values }, positionals }
  } catch (error) {
    const message = (error instanceof Error ? error.message : String(error)).split(/\. To specify|\n/, 1)[0]
    throw new UsageError(`${variableHint(args) ?? message}; usage: ${command.usage}`)
  }
}

const unexpectedArgument = (extra: string, { options }: Command): string =>
  Object.hasOwn(options, 'config')
    ? `expected no file here, got "${extra}"; "-c ${extra}" names the config`
    : `expected nothing here, got "${extra}"`

/** Returns a hint at the environment variable that an unknown option such as --port stands for. */
function variableHint(args: readonly string[]): string | undefined {
  for (const arg of args) {
    const name = /^--?([a-z][\w-]*)/i.exec(arg)?.[1]
    const variable =
      name === undefined ? undefined : (VARIABLES_OF_OPTIONS[name] ?? environmentVariableFor(name))
    if (variable !== undefined)
      return `There is no option ${arg.split('=', 1)[0]}; set ${variable} in the environment`
  }
  return undefined
}

const VARIABLES_OF_OPTIONS: Readonly<Record<string, string>> = { p: 'PORT', host: 'HOST' }

const isHelpOption = (arg: string): boolean => arg === '-h' || arg === '--help'

function printCommandHelp({ usage, summary }: Command): number {
  process.stdout.write(`usage: ${usage}\n\n${summary}\n`)
  return 0
}

async function printHelp(): Promise<number> {
  const lines = ['Sallyport, an API gateway.', '', 'usage:']
  for (const load of Object.values(commands)) {
    const { command } = await load()
    lines.push(`  ${command.usage.padEnd(44)} ${command.summary}`)
  }
  process.stdout.write(`${lines.join('\n')}\n`)
  return 0
}
