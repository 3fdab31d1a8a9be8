import { ConfigError } from '../config/fault.ts'

/** Ends a command with a message for people and an exit code. */
export class CommandError extends Error {
  readonly exitCode: number = 1
}

/** Ends a command that was called wrongly: one line, and exit code 2. */
export class UsageError extends CommandError {
  override readonly exitCode = 2
}

/** Turns a gateway that can't be built from a sound config into the end of a command: an extension that throws, for one. */
export function orBroken(error: unknown): never {
  if (error instanceof ConfigError) orFaults(error)
  throw new CommandError(
    `The gateway can't be built: ${error instanceof Error ? error.message : String(error)}`
  )
}

/** Turns the faults of a config into the end of a command. */
export function orFaults(error: unknown): never {
  if (!(error instanceof ConfigError)) throw error
  const count = error.faults.length
  throw new CommandError(
    `${error.message}\n${count === 1 ? 'One fault' : `${count} faults`}; nothing was started.`
  )
}
