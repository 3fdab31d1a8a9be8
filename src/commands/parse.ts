import { parseArgs } from 'node:util'
import { environmentVariableFor } from '../config/option-locations.ts'
import { nearest } from '../lib/schema.ts'
import type { Command } from './command.ts'
import { commands } from './index.ts'
import { UsageError } from './outcome.ts'

/** Parses the arguments of a command; throws a UsageError that says what would work. */
export function parseArguments(
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
    const extra = positionals[command.positionals.length]
    if (extra !== undefined && command.variadic === undefined)
      throw new Error(unexpectedArgument(extra, command))
    return { values: { ...values }, positionals }
  } catch (error) {
    const message = (error instanceof Error ? error.message : String(error)).split(/\. To specify|\n/, 1)[0]
    throw new UsageError(
      `${variableHint(args) ?? message}${nearestOption(error, command)}${lateCommand(error, args)}; usage: ${command.usage}`
    )
  }
}

const unexpectedArgument = (extra: string, { options }: Command): string =>
  Object.hasOwn(commands, extra)
    ? `expected the command first: sallyport ${extra} …`
    : Object.hasOwn(options, 'config')
      ? `expected no file here, got "${extra}"; "-c ${extra}" names the config`
      : `expected nothing here, got "${extra}"`

/** Returns what an unknown option was probably meant to be. */
function nearestOption(error: unknown, { options }: Command): string {
  const name = /^Unknown option '--([^']+)'/.exec(error instanceof Error ? error.message : '')?.[1]
  const near = name === undefined ? undefined : nearest(name, [...Object.keys(options), 'help'])
  return near === undefined ? '' : ` (did you mean "--${near}"?)`
}

/** Says where a command belongs that comes after an option which is its own. */
function lateCommand(error: unknown, args: readonly string[]): string {
  const isUnknown = error instanceof Error && error.message.startsWith('Unknown option')
  const name =
    isUnknown && args[0]?.startsWith('-') ? args.find((arg) => Object.hasOwn(commands, arg)) : undefined
  return name === undefined ? '' : ` (the command comes first: sallyport ${name} …)`
}

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
