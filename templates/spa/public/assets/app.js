const response = await fetch('/api/hello')
document.querySelector('#response').textContent =
  `GET /api/hello: ${response.status}\n${await response.text()}`
