/** The first worker could not start; its own message is on stderr. */
export class StartFailed extends Error {
  readonly exitCode: number

  constructor(exitCode: number) {
    super('the first worker could not start')
    this.exitCode = exitCode
  }
}
