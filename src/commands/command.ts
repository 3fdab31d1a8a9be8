import type { parseArgs } from 'node:util'

/** A command of the command line. */
export interface Command {
  readonly summary: string
  readonly usage: string
  readonly options: NonNullable<NonNullable<Parameters<typeof parseArgs>[0]>['options']>
  /** How many arguments without a dash it accepts at most. */
  readonly maxPositionals: number
  /** Returns the exit code; undefined for a process that keeps running. */
  run(args: CommandArguments): Promise<number | undefined>
}

/** The arguments of a command, parsed. */
export interface CommandArguments {
  readonly values: Readonly<Record<string, unknown>>
  readonly positionals: readonly string[]
  readonly version: string
}
