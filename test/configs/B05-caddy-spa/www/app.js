console.log('js')
