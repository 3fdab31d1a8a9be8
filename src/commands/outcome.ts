import { ConfigError, showFault } from '../config/fault.ts'

/** Ends a command with a message and an exit code. */
export class CommandError extends Error {
  readonly exitCode: number = 1
}

/** Ends a command with wrong usage: one line, and exit code 2. */
export class UsageError extends CommandError {
  override readonly exitCode = 2
}

/** Throws the CommandError of a gateway that cannot be built from a valid config, such as one with an extension that throws. */
export function throwBuildError(error: unknown): never {
  if (error instanceof ConfigError) throwConfigErrors(error)
  throw new CommandError(
    `The gateway can't be built: ${error instanceof Error ? error.message : String(error)}`
  )
}

// More errors than this are counted: they mostly have one cause, and push the first ones off the screen.
const MAX_PRINTED_ERRORS = 20

/** Throws a CommandError with one line for each error of a config. */
export function throwConfigErrors(error: unknown): never {
  if (!(error instanceof ConfigError)) throw error
  const { faults } = error
  const lines = faults.slice(0, MAX_PRINTED_ERRORS).map(showFault)
  if (faults.length > MAX_PRINTED_ERRORS) lines.push(`… and ${faults.length - MAX_PRINTED_ERRORS} more`)
  lines.push(`${faults.length === 1 ? 'One error' : `${faults.length} errors`}; nothing was started.`)
  throw new CommandError(lines.join('\n'))
}
