import type { CommandOption } from './command.ts'

/** The option of commands whose output is data. */
export const JSON_OPTION = {
  type: 'boolean',
  about: 'prints JSON, for programs'
} as const satisfies CommandOption

// docs/commands.md describes each shape. Fields may be added to a version; one that is renamed or removed makes another.
const VERSION = 1

/** Prints the output of a command with --json. */
export function printJson(output: object): void {
  process.stdout.write(`${JSON.stringify({ version: VERSION, ...output }, null, 2)}\n`)
}
