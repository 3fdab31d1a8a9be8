import { exitOnClosedPipe } from './commands/closed-pipe.ts'
import { allHelp, commandHelp } from './commands/help.ts'
import { commands } from './commands/index.ts'
import { CommandError, UsageError } from './commands/outcome.ts'
import { parseArguments } from './commands/parse.ts'
import { nearest } from './lib/schema.ts'
import { neverYield } from './lib/time-slicing.ts'

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
  if (first === '-h' || first === '--help' || first === 'help') return print(await allHelp())
  if (first === '-v' || first === '--version') return print(`${version()}\n`)
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
  if (rest.some(isHelpOption)) return print(commandHelp(command))
  if (command.serves !== true) exitOnClosedPipe()
  const args = parseArguments(command, isNamed ? rest : first === undefined ? [] : [first, ...rest])
  if (command.serves !== true) neverYield()
  return command.run({ ...args, version: version() })
}

const isHelpOption = (arg: string): boolean => arg === '-h' || arg === '--help'

function print(text: string): number {
  exitOnClosedPipe()
  process.stdout.write(text)
  return 0
}
