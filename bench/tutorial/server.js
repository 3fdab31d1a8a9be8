// The gateway that everyone writes once, from its parts' own examples: sessions, a rate limit, CORS, helmet, a log line
// and a proxy. It is kinder than most in that connections to the upstream are kept; with "lean" it stores no session for
// who has none, which the example in express-session's README does.
import http from 'node:http'
import cors from 'cors'
import express from 'express'
import { rateLimit } from 'express-rate-limit'
import session from 'express-session'
import helmet from 'helmet'
import { createProxyMiddleware } from 'http-proxy-middleware'
import winston from 'winston'

const [port, upstream, lean] = process.argv.slice(2)
const logger = winston.createLogger({
  format: winston.format.combine(winston.format.timestamp(), winston.format.json()),
  transports: [new winston.transports.Console()]
})
const app = express()
app.use((request, response, next) => {
  const start = process.hrtime.bigint()
  response.on('finish', () =>
    logger.info('request', {
      method: request.method,
      path: request.originalUrl,
      status: response.statusCode,
      duration: Number(process.hrtime.bigint() - start) / 1e6,
      ip: request.ip
    })
  )
  next()
})
app.use(helmet())
app.use(cors({ origin: ['https://app.example.com'], credentials: true }))
app.use(session({ secret: 'a secret of the bench', resave: false, saveUninitialized: lean === undefined }))
app.use(rateLimit({ windowMs: 3_600_000, limit: 1_000_000_000, standardHeaders: true, legacyHeaders: false }))
app.use(
  '/a',
  createProxyMiddleware({
    target: `http://127.0.0.1:${upstream}`,
    changeOrigin: true,
    agent: new http.Agent({ keepAlive: true })
  })
)
app.listen(Number(port), '127.0.0.1')
