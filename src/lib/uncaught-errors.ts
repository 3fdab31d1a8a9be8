import type { Logger } from 'pino'

/** Logs uncaught errors and keeps the process running: one request or one extension must not end all others. */
export function logUncaughtErrors(log: Logger): void {
  process.on('uncaughtException', (error, origin) => log.error({ err: error, origin }, 'uncaught error'))
}
