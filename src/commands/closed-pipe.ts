// That of a program which SIGPIPE has ended; Node.js ignores the signal. 0 would pass for success in `sallyport test | head`.
const EXIT_CODE = 141

/** Ends the process without a message once its output is closed (EPIPE), as `head` does after some lines. */
export function exitOnClosedPipe(): void {
  for (const stream of [process.stdout, process.stderr])
    if (!stream.listeners('error').includes(onError)) stream.prependListener('error', onError)
}

function onError(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(EXIT_CODE)
  throw error
}
